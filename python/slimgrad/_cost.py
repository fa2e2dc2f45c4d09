"""FLOPs and bytes in closed form."""

from __future__ import annotations

import json
from typing import Any

from . import _core
from .runs import _warn as warn
from .runs import _words as words_of

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
    **options: Any,
) -> Document:
    """FLOPs and bytes of the linear maps of a model: what `slimgrad cost --json` prints.

    The result has one object for each convention, `paper` (each layer alone, both products) and
    `executed` (what the program really does), with forward, compress, g_w, g_x, backward and
    saved_bytes a sample, projector_bytes, calibration, and one object for each layer.

    model: an architecture of the paper's tables or a model of slimgrad. tokens: of architectures
    that read text (None: their usual number). train_blocks: "all" or "last:K". rank_x, rank_g: what
    compressed slots need. side: token, channel or auto. options: what else `slimgrad cost --help`
    lists, with underscores: those of the method, batch (samples over which once-a-batch terms are
    spread), calibrate_every, channels, height and width of images.

    Warns of options that have no effect. Raises sg.Error for unknown words, listing the known ones, and values out of range.

    >>> c = sg.cost("bert-base", tokens=512, train_blocks="last:1")
    >>> c.paper.backward, c.paper.saved_bytes
    (14495514624, 14155776)
    """
    named = dict(rank_x=rank_x, rank_g=rank_g, side=None if side == "auto" else side)
    given = words_of("cost", dict(options, **named))
    shape = dict(model=model, tokens=tokens, train_blocks=train_blocks, method=method)
    words = words_of("cost", dict(options, **shape, **named))
    document, notes = _core.cost_document(words, list(given))
    warn(notes, 3)
    result = json.loads(document, object_hook=Document)
    assert isinstance(result, Document)
    return result
