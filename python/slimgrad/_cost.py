"""FLOPs and bytes in closed form."""

from __future__ import annotations

import json
from typing import Any

from . import _core

__all__ = ["Document", "cost"]


class Document(dict[str, Any]):
    """A JSON object whose fields can also be read as attributes: d["paper"]["g_w"], d.paper.g_w."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            known = ", ".join(self)
            raise AttributeError(f"no field '{name}'; there are: {known}") from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]


def cost(
    model: str = "bert-base",
    tokens: int | None = None,
    train_blocks: str = "all",
    method: str = "vanilla",
    rank_x: int | None = None,
    rank_g: int | None = None,
    side: str = "auto",
    side_x: str | None = None,
    side_g: str | None = None,
    *,
    break_even: str = "report",
    batch: int = 1,
    calibrate_every: int = 200,
    calibrate_batches: int = 5,
    channels: int = 3,
    height: int = 32,
    width: int = 32,
    classes: int = 10,
) -> Document:
    """FLOPs and bytes of the linear maps of a model: what `slimgrad cost --json` prints.

    The result has one object for each convention, `paper` (each layer alone, both products) and
    `executed` (what the program really does), with forward, compress, g_w, g_x, backward and
    saved_bytes a sample, projector_bytes, calibration, and one object for each layer.

    model: an architecture of the paper's tables or a model of slimgrad. tokens: of architectures
    that read text (None: their usual number). train_blocks: "all" or "last:K". rank_x, rank_g: what
    compressed slots need. side: token, channel or auto; side_x, side_g: of one slot only.
    break_even: "vanilla" leaves slots exact that would cost more than they save. batch: samples
    over which once-a-batch terms are spread. channels, height, width, classes: of images.

    Raises sg.Error for unknown words, listing the known ones, and values out of range.

    >>> c = sg.cost("bert-base", tokens=512, train_blocks="last:1")
    >>> c.paper.backward, c.paper.saved_bytes
    (14495514624, 14155776)
    """
    document = _core.cost_document(
        model, tokens or 0, train_blocks, method, rank_x, rank_g, side, side_x or "", side_g or "",
        break_even, batch, calibrate_every, calibrate_batches, channels, height, width, classes,
    )  # fmt: skip
    result = json.loads(document, object_hook=Document)
    assert isinstance(result, Document)
    return result
