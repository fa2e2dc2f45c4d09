"""What users derive from: functions and backward rules of their own.

Both classes serve both precisions. Their methods get and give tensors; NumPy arrays are taken as
well, without a copy. Operations of slimgrad count their FLOPs; what NumPy computes is said with
`sg.count`.
"""

from __future__ import annotations


class Function:
    """A step of a computation with its own derivative. Use it by `tape.apply(f, [x, ...])`.

        class Square(sg.Function):
            def forward(self, inputs, saved):
                x = np.asarray(inputs[0])
                saved.keep("x", x)
                sg.count(x.size)
                return x * x

            def backward(self, gy, saved):
                x = np.asarray(saved["x"])
                sg.count(2 * x.size)
                return 2 * x * np.asarray(gy)

    An object describes what is computed, never one execution of it: all that passes from forward to
    backward goes through `saved`, where the ledger counts it. A function that counts no FLOPs is an
    error; one that only moves data says `sg.count(0)`.
    """

    @property
    def name(self) -> str:
        """The layer under which FLOPs and bytes are counted; by default the name of the class."""
        return type(self).__name__

    def forward(self, inputs, saved):
        """The output, from a list of tensors. `saved.keep(name, tensor)` keeps for backward."""
        raise NotImplementedError(f"{type(self).__name__} must write forward(self, inputs, saved)")

    def backward(self, gy, saved):
        """The gradient of each input, as a tuple, or alone if there is one input.

        None is allowed where `saved.needs(i)` is False. `gy` must not be changed.
        """
        raise NotImplementedError(f"{type(self).__name__} must write backward(self, gy, saved)")


class BackwardRule:
    """How a linear map y = x Wᵀ, x (B, L, Cx), W (Cy, Cx), is differentiated.

    A rule owns what is kept of x in forward and how g_w and g_x are made from it. Give it to layers
    by `layer.rule = rule`, for every layer of a model:

        for layer in sg.linear_maps(model):
            if layer.compressible:
                layer.rule = rule

    An optional method `forward(self, x, w, saved, call)` replaces the product itself while
    training; it must call save. Evaluation is always exact. `call` says which gradients are asked
    for (`call.gx`, `call.gw`), the path of the layer, and draws random numbers for it.
    """

    @property
    def name(self) -> str:
        """The method's name; by default that of the class."""
        return type(self).__name__

    def save(self, x, saved, call):
        """Keeps what backward will need of `x.matrix` (B, L, Cx), if `call.gw`."""
        raise NotImplementedError(f"{type(self).__name__} must write save(self, x, saved, call)")

    def backward(self, gy, w, saved, call):
        """The tuple (gx, gw) for gy (B, L, Cy): gx (B, L, Cx) and gw (Cy, Cx).

        None is allowed where `call.gx` or `call.gw` is False.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must write backward(self, gy, w, saved, call)"
        )
