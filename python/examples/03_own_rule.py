"""03: a backward rule of one's own trains the demo model.

The x slot of every linear map is compressed by a random projection of its tokens: keep x̂ = P x and
make g_w = Σ_b (P g_b)ᵀ x̂_b, with P (R, L) from N(0, 1/R), so that E[PᵀP] = I and g_w is right on
average. INSTANT's P comes from the data instead; put both in and compare.
"""

import slimgrad as sg


class RandomTokens(sg.BackwardRule):
    """Compress-x with R random directions of the token axis."""

    name = "random-tokens"

    def __init__(self, rank: int, seed: int = 0):
        """One rule may serve many layers: it holds nothing of an execution."""
        self.rank, self.seed = rank, seed
        self._projectors: dict[int, sg.Tensor] = {}

    def projector(self, tokens: int) -> sg.Tensor:
        """P: (R, L), the same for all layers of L tokens."""
        if tokens not in self._projectors:
            p = sg.normal((self.rank, tokens), seed=self.seed, purpose="random tokens", a=tokens)
            self._projectors[tokens] = p * self.rank**-0.5
        return self._projectors[tokens]

    def save(self, x, saved, call):
        """Keeps P x, once for all layers that get the same x."""
        if not call.gw:
            return
        p = self.projector(x.matrix.shape[1])
        with sg.phase("compress"):
            saved.keep_once("x", self, x.held, lambda: sg.matmul(p, x.matrix))  # (R,L)·(L,Cx)

    def backward(self, gy, w, saved, call):
        """g_x exactly, g_w from the projections."""
        gx = sg.linear_gx(gy, w) if call.gx else None
        gw = None
        if call.gw:
            with sg.phase("g_w"):
                g_hat = sg.matmul(self.projector(gy.shape[1]), gy)  # (R,L)·(L,Cy)
            gw = sg.linear_gw(g_hat, saved["x"])  # (Cy,B·R)·(B·R,Cx)
        return gx, gw


def train(rule: sg.BackwardRule | None, steps: int) -> list[float]:
    """Trains vit-micro with one rule in every compressible layer; returns the losses."""
    data = sg.data.load("embedded-images")
    loader = sg.data.Loader(data.train, batch_size=32)
    model = sg.models.make("vit-micro", channels=1, height=28, width=28)
    optimizer = sg.optim.AdamW(model, lr=1e-3)
    for layer in sg.linear_maps(model):
        if layer.compressible:
            layer.rule = rule

    sg.meter.reset()
    losses, saved = [], 0
    for step in range(steps):
        batch = loader.batch(step)
        model.zero_grad()
        tape = sg.Tape()
        loss = sg.cross_entropy(model(tape.constant(batch.x)), batch.labels)
        saved = sg.ledger["saved"].live // len(batch)
        tape.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    work = sum(sg.meter.phase(phase) for phase in ("compress", "g_w", "g_x"))
    name = "vanilla" if rule is None else rule.name
    print(
        f"{name:14} loss {losses[0]:.3f} -> {sum(losses[-10:]) / len(losses[-10:]):.3f}, "
        f"backward of linear maps {work / 1e9:.1f} GFLOP, saved a sample {saved} bytes"
    )
    return losses


if __name__ == "__main__":
    train(None, 100)
    train(RandomTokens(rank=24), 100)
