"""What nn.Module of both precisions gets on top of the compiled part."""

import functools


def prepare(module_class):
    """Lets models written in Python name their parts, and adds state_dict."""

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

    module_class.__init_subclass__ = classmethod(__init_subclass__)
    module_class.state_dict = state_dict
