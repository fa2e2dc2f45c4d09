"""01: training, with nothing hidden. Forward, loss, backward, update; then what it cost."""

import slimgrad as sg


def main(steps: int = 60) -> float:
    """Trains a small vision transformer with INSTANT and returns the last loss."""
    data = sg.data.load("embedded-images")
    loader = sg.data.Loader(data.train, batch_size=32)
    model = sg.models.make("vit-micro", channels=1, height=28, width=28)
    optimizer = sg.optim.AdamW(model, lr=1e-3)
    calibrator = sg.Calibrator(model, method="instant", epsilon=0.95, oversample=5)

    def loss_of(tape: sg.Tape, batch: sg.data.Batch) -> sg.Var:
        return sg.cross_entropy(model(tape.constant(batch.x)), batch.labels)

    def run_batches(step: int) -> None:
        for ahead in range(2):
            tape = sg.Tape(update_statistics=False)
            tape.backward(loss_of(tape, loader.batch(step + ahead)))

    loss = float("nan")
    for step in range(steps):
        batch = loader.batch(step)
        if step % 200 == 0:  # find the directions that matter, now and every 200 steps
            calibrator.calibrate(lambda: run_batches(step))
        model.zero_grad()
        tape = sg.Tape()
        y = loss_of(tape, batch)
        saved = sg.ledger["saved"].live // len(batch)
        tape.backward(y)
        optimizer.step()
        loss = y.item()
        if step % 10 == 0:
            print(f"step {step:3}: loss {loss:.3f}, {saved} bytes a sample kept for backward")

    for phase in ("forward", "compress", "g_w", "g_x", "calibrate"):
        print(f"{phase:10} {sg.meter.phase(phase) / 1e9:8.2f} GFLOP")
    return loss


if __name__ == "__main__":
    main()
