"""sg.cost: the figures of the paper's tables."""

from __future__ import annotations

import pytest

import slimgrad as sg


def test_the_last_block_of_bert():
    c = sg.cost(model="bert-base", tokens=512, train_blocks="last:1", method="vanilla")
    assert c.paper.backward == 14_495_514_624
    assert c["paper"]["saved_bytes"] == 14_155_776
    assert c.executed.backward == 12_683_575_296
    assert c.executed.saved_bytes == 11_010_048


def test_all_blocks_of_bert():
    c = sg.cost("bert-base", tokens=512)
    assert c.paper.backward == 173_946_175_488
    assert c.paper.saved_bytes == 162 * 2**20


def test_the_factor_of_section_3_3():
    words = {"model": "bert-base", "tokens": 512, "train_blocks": "last:1"}
    vanilla = sg.cost(**words).paper.layers[0]
    low = sg.cost(**words, method="instant", rank_x=8, rank_g=8).paper.layers[0]
    assert (low.L, low.Cx, low.Cy, low.rank_x, low.rank_g) == (512, 768, 768, 8, 8)
    assert vanilla.backward / low.backward == pytest.approx(27.43, abs=0.005)


def test_sides_and_batches():
    c = sg.cost("bert-base", 512, "last:1", "instant", 8, 8, "token", side_g="channel", batch=4)
    layer = c.paper.layers[0]
    assert layer.g_x == 2 * 512 * 8 * (768 + 768) + 2 * 8 * 768 * 768 // 4


def test_fields_are_attributes():
    c = sg.cost("bert-base", tokens=512)
    assert c.paper is c["paper"] and "paper" in dir(c)
    with pytest.raises(AttributeError, match="no field 'papre'; there are:.*paper"):
        _ = c.papre


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "bert-bass"}, "bert-base"),
        ({"method": "instan"}, "unknown method 'instan'"),
        ({"method": "instant"}, "rank"),
        ({"train_blocks": "last:99"}, "last:K"),
        ({"side": "left"}, "unknown side 'left'"),
        ({"tokens": -1}, "tokens"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(sg.Error, match=message):
        sg.cost(**options)
