"""Threads of Python: what README.md promises them. `./run sanitize thread` runs these tests, too."""

import copy
import threading

import numpy as np
import pytest

import slimgrad as sg


class Dense(sg.BackwardRule):
    """The exact rule, by NumPy."""

    def save(self, x, saved, call):
        if call.gw:
            saved.keep("x", x.matrix)

    def backward(self, gy, w, saved, call):
        g, x = np.asarray(gy), np.asarray(saved["x"])
        sg.count(4 * g.size * x.shape[-1])
        return g @ np.asarray(w), np.einsum("bly,blx->yx", g, x)


def in_threads(*work):
    """Runs these at once; what one of them raises comes out."""
    errors = []

    def guarded(one):
        try:
            one()
        except BaseException as error:  # noqa: BLE001 - it is raised again
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_each_has_tapes_and_a_meter_of_its_own():
    totals = []

    def work(n):
        sg.meter.reset()
        for _ in range(20):
            layer = sg.nn.Linear(8, 8, bias=False)
            layer.rule = Dense()
            tape = sg.Tape()
            tape.backward(sg.sum(layer(tape.input(np.ones((2, n, 8), np.float32)))))
        totals.append((n, sg.meter.layer("linear")["forward"]))

    in_threads(*(lambda n=n: work(n) for n in (3, 5, 7)))
    assert sorted(totals) == [(n, 20 * 2 * 2 * n * 8 * 8) for n in (3, 5, 7)]


def test_one_model_is_evaluated_and_one_tensor_kept_in_all_of_them():
    model = sg.nn.Sequential(sg.nn.Linear(16, 32), sg.nn.GELU(), sg.nn.Linear(32, 4))
    x = sg.normal((64, 16), seed=1)
    before = sg.ledger["saved"].live
    expected = np.asarray(model(sg.Tape(training=False).input(x)).value)

    def work():
        for _ in range(10):
            tape = sg.Tape(training=False)
            assert np.array_equal(np.asarray(model(tape.input(x)).value), expected)
            own = copy.deepcopy(model)
            tape = sg.Tape()
            tape.backward(sg.sum(own(tape.input(x))))

    in_threads(work, work, work)
    assert sg.ledger["saved"].live == before


def test_a_run_beside_other_work(tmp_path):
    options = dict(model="mlp", limit_train=64, limit_test=16, batch=16, epochs=2, threads=1, quiet=True)
    alone = sg.train(out=tmp_path / "alone", **options)
    found, running = {}, threading.Event()

    def train():
        found.update(sg.train(out=tmp_path / "run", stop=lambda step: running.set() or False, **options))

    def others():
        assert running.wait(60)
        for n in range(20):
            tape = sg.Tape()
            x = tape.input(sg.normal((8, 8), seed=n))
            tape.backward(sg.sum(x * x))
            assert np.allclose(np.asarray(tape.gradient(x)), 2 * np.asarray(x.value))

    in_threads(train, others, others)
    assert found["loss"] == alone["loss"]


def test_what_one_of_them_raises_concerns_nobody_else():
    def wrong():
        for _ in range(50):
            with pytest.raises(sg.Error, match="inner dimensions"):
                sg.normal((2, 3), seed=0) @ sg.normal((2, 3), seed=0)

    def right():
        for _ in range(50):
            assert (sg.normal((2, 3), seed=0) @ sg.normal((3, 2), seed=0)).shape == (2, 2)

    in_threads(wrong, right)
