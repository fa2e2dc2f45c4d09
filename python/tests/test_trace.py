"""sg.trace: one step as a timeline."""

from __future__ import annotations

import gc
import json

import numpy as np
import pytest

import slimgrad as sg

small = dict(model="vit-micro", batch=8, limit_train=64, calibrate_batches=1, threads=1, quiet=True)


def test_a_step_as_a_document(tmp_path):
    threads = sg.get_num_threads()
    t = sg.trace(["vanilla", "instant"], out=tmp_path / "t.html", chrome=tmp_path / "t.json", **small)
    vanilla, instant = t.methods
    assert (t.model, t.data, t.samples, t.step) == ("vit-micro", "embedded-images", 8, 2)
    assert vanilla.losses[0] == instant.losses[0] and vanilla.batch == instant.batch
    assert instant.saved_after_forward < vanilla.saved_after_forward
    assert instant.flops < vanilla.flops
    assert "<html" in (tmp_path / "t.html").read_text()
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert sg.get_num_threads() == threads


def test_the_numbers_fit_each_other():
    for method in sg.trace(["vanilla", "instant", "gact"], **small).methods:
        peaks = sum(np.array(of) for of in method.moments.peak.values())
        assert method.peak.bytes == peaks.max() == peaks[method.peak.moment]
        assert sum(method.peak.categories.values()) == method.peak.bytes
        assert method.flops == sum(call.flops for call in method.calls)
        for call in method.calls:
            assert call.flops == sum(call.phases.values())
        saved = method.moments.live.saved
        assert saved[method.after_forward] == method.saved_after_forward
        assert saved[0] == saved[-1] == 0
        for k in range(len(saved)):
            live = [v for v in method.held if v["from"] <= k < v.until]
            for category, bytes in (("saved", saved[k]), ("parameters", method.moments.live.parameters[k])):
                assert sum(v.bytes for v in live if v.category == category) == bytes


def test_nothing_is_left_behind():
    def live():
        gc.collect()
        return {name: held.live for name, held in sg.ledger.as_dict().items()}

    before = live()
    sg.trace(["vanilla", "instant"], **small)
    assert live() == before


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        ("vanilla", {}, "expected a list of methods"),
        ([], {}, "expected a list of methods"),
        ([3], {}, "expected a list of methods"),
        (["instan"], {}, "unknown method 'instan'"),
        (["vanilla", "vanilla"], {}, "twice"),
        (["vanilla:batch=4"], {}, "see the same batch"),
        (["vanilla"], {"warmup_steps": -1}, "as warmup_steps, got -1"),
        (["vanilla"], {"warmup_steps": 0.5}, "as warmup_steps"),
        (["vanilla"], {"warmup_steps": None}, "as warmup_steps"),
        (["vanilla"], {"out": 3}, "expected a path as out"),
        (["vanilla"], {"chrome": "no/t.json"}, "there is no directory"),
        (["vanilla"], {"method": "instant"}, "method is not an option of a trace"),
        (["vanilla"], {"log_every": 2}, "log_every is not an option of a trace"),
        (["vanilla"], {"quiet": 1}, "True or False as quiet"),
        (["vanilla"], {"lr_": 1}, "unknown option 'lr_'"),
    ],
)
def test_bad_input_is_named(methods, options, message):
    with pytest.raises(sg.Error, match=message):
        sg.trace(methods, **{**small, **options})


def test_options_without_effect_are_said():
    with pytest.warns(UserWarning, match="momentum has no effect"):
        sg.trace(["instant"], momentum=0.5, **small)
