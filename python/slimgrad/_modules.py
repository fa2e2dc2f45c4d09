"""What nn.Module of both precisions gets on top of the compiled part."""

import functools

import numpy as np

from ._core import Error


def prepare(half):
    """Lets models written in Python name their parts, and adds state_dict, copies and pickling.

    half: _core.f32 or _core.f64.
    """
    module_class = half.Module

    def __init_subclass__(cls, **options):
        super(module_class, cls).__init_subclass__(**options)
        if "__init__" not in cls.__dict__:
            return
        init = cls.__init__

        @functools.wraps(init)
        def init_and_name(self, *args, **kwargs):
            init(self, *args, **kwargs)
            if type(self) is cls:  # the outermost constructor, which is the last to return
                self.name_modules()

        cls.__init__ = init_and_name

    def state_dict(self):
        """All parameters and buffers by PyTorch's names, as tensors on the same memory."""
        state = {name: parameter.value for name, parameter in self.named_parameters()}
        state.update(self.named_buffers())
        return state

    def __reduce__(self):
        """For pickle and copy: how to make it again, and what it holds."""
        if "_made" in self.__dict__:
            made, attributes = self.__dict__["_made"], {}
            return _remake, (half.__name__, made), dict(_values(self, half), attributes=attributes)
        if hasattr(self, "_constructor_arguments"):
            arguments = self._constructor_arguments()
            state = {} if isinstance(arguments, tuple) else _values(self, half)
            return _construct, (type(self), arguments), dict(state, attributes=dict(self.__dict__))
        return _blank, (type(self), module_class), {"attributes": dict(self.__dict__)}

    def __setstate__(self, state):
        """Takes what __reduce__ gave."""
        self.__dict__.update(state["attributes"])
        _restore(self, state, half)
        self.name_modules()

    module_class.__init_subclass__ = classmethod(__init_subclass__)
    module_class.state_dict = state_dict
    module_class.__reduce__ = __reduce__
    module_class.__setstate__ = __setstate__


def _remake(half, made):
    """A named model of the library."""
    from . import _core

    return getattr(_core, half.rpartition(".")[2]).make_model(**made)


def _construct(cls, arguments):
    """A layer of the library, from what its constructor was given."""
    return cls(*arguments) if isinstance(arguments, tuple) else cls(**arguments)


def _blank(cls, module_class):
    """A model written in Python, before its __init__."""
    model = cls.__new__(cls)
    module_class.__init__(model)
    return model


def _linear_maps(module, half):
    return [(n, part) for n, part in module.named_modules() if isinstance(part, half.LinearMap)]


def _batch_norms(module, half):
    return [(n, part) for n, part in module.named_modules() if isinstance(part, half.BatchNorm)]


def _values(module, half):
    """What a layer or model of the library holds beside its constructor's arguments."""
    layers = {}
    for name, layer in _linear_maps(module, half):
        rule = layer.rule
        if isinstance(rule, half.LibraryRule):
            if rule.name != "vanilla":
                raise Error(
                    f"[{layer.path}] a layer with the rule '{rule.name}' can be neither copied nor "
                    "pickled: its projectors belong to a calibrator. Hint: copy with the rule None, "
                    "and restore() the calibrator's state()"
                )
            rule = None
        adapter = getattr(layer, "adapter", None)
        layers[name] = (rule, layer.compressible, layer._own_group, adapter)
    return {
        "parameters": {
            name: (np.array(p.value), p.requires_grad) for name, p in module.named_parameters()
        },
        "buffers": {name: np.array(buffer) for name, buffer in module.named_buffers()},
        "frozen": [n for n, norm in _batch_norms(module, half) if norm.frozen],
        "layers": layers,
    }


def _restore(module, state, half):
    adapters = {name: layer[3] for name, layer in state.get("layers", {}).items()}
    for name, layer in _linear_maps(module, half):
        if adapters.get(name) and not layer.adapter:
            layer.add_adapter(*adapters[name])
    for name, parameter in module.named_parameters() if "parameters" in state else ():
        parameter.value, parameter.requires_grad = state["parameters"][name]
    for name, buffer in module.named_buffers() if "buffers" in state else ():
        buffer[...] = state["buffers"][name]
    for name, norm in _batch_norms(module, half):
        norm.frozen = name in state.get("frozen", ())
    for name, layer in _linear_maps(module, half) if "layers" in state else ():
        layer.rule, layer.compressible, layer.input_group, _ = state["layers"][name]
