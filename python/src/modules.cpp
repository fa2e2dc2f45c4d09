// Module: parameters, buffers, children. Models written in Python derive from it.

#include "nn/module.h"

#include <nanobind/trampoline.h>

#include "bind.h"
#include "lifetimes.h"
#include "nn/linear_map.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

/// A model written in Python: its attributes are its children and parameters, in the order in which
/// they were set.
class PythonModule final : public Module {
  public:
    NB_TRAMPOLINE(Module);

    Var forward(const Var& x) override {
        const nb::gil_scoped_acquire gil;
        const nb::object self = nb::borrow(nb_trampoline.base());
        const nb::object forward = self.type().attr("forward");
        if (forward.is(nb::type<Module>().attr("forward"))) return Module::forward(x);
        return to_var(forward(self, to_python(x)), path() + ".forward");
    }

    void visit(Visitor& visitor) override {
        const nb::gil_scoped_acquire gil;
        const nb::dict attributes = nb::cast<nb::dict>(nb_trampoline.base().attr("__dict__"));
        for (const auto [key, value] : attributes) {
            const std::string name = nb::cast<std::string>(key);
            if (nb::isinstance<nb::list>(value) || nb::isinstance<nb::tuple>(value)) {
                std::size_t i = 0;
                for (const nb::handle item : value)
                    present(visitor, fmt::format("{}.{}", name, i++), item);
            } else {
                present(visitor, name, value);
            }
        }
    }

    std::string kind() const override {
        const nb::gil_scoped_acquire gil;
        return nb::cast<std::string>(nb_trampoline.base().type().attr("__name__"));
    }

  private:
    static void present(Visitor& visitor, const std::string& name, nb::handle value) {
        if (nb::isinstance<Module>(value))
            visitor.module(name, to_module(value));
        else if (nb::isinstance<Parameter>(value))
            visitor.parameter(name, nb::cast<Parameter&>(value));
    }
};

/// Calls a module; its tape keeps it alive, since backward adds to its parameters.
nb::object call(nb::handle self, nb::handle input) {
    Module& module = to_module(self);
    require(nb::isinstance<Var>(input),
            "[{}] expected a Var of a {} tape, got {}. Hint: layer(tape.input(x)) or "
            "layer(tape.constant(x))",
            module.path(), dtype_name, text(input.type()));
    const Var x = nb::cast<Var>(input);
    const nb::object tape = nb::find(&x.tape());
    if (tape.is_valid()) tie(tape, self);
    Var y;
    {
        const nb::gil_scoped_release release;
        y = module.forward(x);
    }
    return to_python(y);
}

void assign(Parameter& parameter, nb::handle value) {
    const Tensor from = to_tensor(value, "parameter");
    require(from.shape() == parameter.value.shape(), "[parameter] expected shape {}, got {}",
            to_string(parameter.value.shape()), to_string(from.shape()));
    parameter.value.copy_from(from);
}

/// A copy has the value and whether it trains; a gradient belongs to the original.
nb::tuple reduce(nb::handle_t<Parameter> self) {
    const Parameter& parameter = nb::cast<Parameter&>(self);
    const nb::object value = to_numpy(parameter.value.clone());
    return nb::make_tuple(self.type(), nb::make_tuple(value, parameter.requires_grad));
}

void bind_parameter(nb::module_& here) {
    nb::class_<Parameter>(here, "Parameter", nb::type_slots(collected()),
                          "A trainable value and its gradient. Copies have the value, and no "
                          "gradient.")
        .def(
            "__init__",
            [](Parameter* self, nb::handle value, bool requires_grad) {
                new (self) Parameter(to_tensor(value, "parameter").clone());
                self->requires_grad = requires_grad;
            },
            "value"_a.none(), "requires_grad"_a = true,
            nb::sig("def __init__(self, value: object, requires_grad: bool = True) -> None"),
            "A parameter of one's own, with a copy of these values.")
        .def("__reduce__", &reduce, nb::sig("def __reduce__(self) -> tuple"),
             "For pickle and copy.")
        .def_prop_rw(
            "value", [](const Parameter& p) { return p.value; }, &assign,
            nb::for_getter(nb::sig("def value(self) -> Tensor")),
            nb::for_setter(nb::arg("value").none()),
            nb::for_setter(nb::sig("def value(self, value: object, /) -> None")),
            "The tensor; writing to np.asarray(p.value) trains by hand. Assigning copies values of "
            "the same shape into it.")
        .def_prop_rw(
            "grad",
            [](const Parameter& p) {
                return p.grad.defined() ? std::optional(p.dense_grad("parameter")) : std::nullopt;
            },
            [](Parameter& p, nb::handle grad) {
                if (grad.is_none()) {
                    p.grad = {};
                    return;
                }
                const Tensor value = to_tensor(grad, "parameter");
                require(value.shape() == p.value.shape(),
                        "[parameter] expected a gradient of shape {}, got {}",
                        to_string(p.value.shape()), to_string(value.shape()));
                p.grad = value;
            },
            nb::for_setter(nb::arg("grad").none()),
            nb::for_setter(nb::sig("def grad(self, grad: object | None, /) -> None")),
            "The gradient that backward has left here, or None.")
        .def_rw("requires_grad", &Parameter::requires_grad,
                "False freezes it: backward makes no gradient for it.")
        .def_prop_ro(
            "shape", [](const Parameter& p) { return to_tuple(p.value.shape()); },
            nb::sig("def shape(self) -> tuple[int, ...]"), "The shape of the value.");
}

template <class T, class Walk>
nb::list collect(nb::handle self, const Walk& walk) {
    nb::list list;
    Module& module = to_module(self);
    const Owners owners(self, module);
    walk(module, [&](const std::string& path, T& part) {
        list.append(nb::make_tuple(path, part_of(owners.of(path), &part)));
    });
    return list;
}

}  // namespace

void name_if_unnamed(Module& model) {
    if (model.path() == model.kind()) name_modules(model);
}

void keep_parts(nb::handle nurse, nb::handle model) {
    const Owners owners(model, to_module(model));
    for (const auto& [path, owner] : owners.all()) tie(nurse, owner);
}

Module& to_module(nb::handle object) {
    require(nb::isinstance<Module>(object), "[module] expected a module of {}, got {}", dtype_name,
            text(object.type()));
    require(nb::inst_ready(object),
            "[{}] this module has not been made. Hint: its __init__ must call super().__init__() "
            "before it uses the module",
            text(object.type().attr("__name__")));
    return nb::cast<Module&>(object);
}

Var to_var(nb::handle object, const std::string& where) {
    require(nb::isinstance<Var>(object), "[{}] expected a Var of a {} tape, got {}", where,
            dtype_name, text(object.type()));
    return nb::cast<Var>(object);
}

void bind_module(nb::module_&, nb::module_& here) {
    bind_parameter(here);
    nb::class_<Module, PythonModule>(
        here, "Module", nb::dynamic_attr(), nb::is_weak_referenceable(),
        nb::type_slots(collected()),
        "A part of a model: parameters, buffers, children, and a forward that puts operations on a "
        "tape. A model of one's own derives from it, sets its parts as attributes in __init__ "
        "(after super().__init__()) and writes forward(self, x).")
        .def(nb::init<>())
        .def("__call__", &call, "x"_a.none(), nb::sig("def __call__(self, x: Var) -> Var"),
             "Runs forward on a value of a tape.")
        .def(
            "forward",
            [](nb::handle self, nb::handle x) {
                require(dynamic_cast<PythonModule*>(&to_module(self)) == nullptr,
                        "[{}] a model of one's own must write forward(self, x)",
                        to_module(self).path());
                return call(self, x);
            },
            "x"_a, nb::sig("def forward(self, x: Var) -> Var"),
            "What the module computes; models of one's own write it.")
        .def_prop_ro(
            "path", [](nb::handle self) { return to_module(self).path(); },
            nb::sig("def path(self) -> str"), "The full name in the model, blocks.0.fc1.")
        .def_prop_ro(
            "kind", [](nb::handle self) { return to_module(self).kind(); },
            nb::sig("def kind(self) -> str"), "The kind of layer, linear.")
        .def(
            "named_parameters",
            [](nb::handle self) { return collect<Parameter>(self, for_each_parameter); },
            nb::sig("def named_parameters(self) -> list[tuple[str, Parameter]]"),
            "All parameters, by PyTorch's names.")
        .def(
            "named_modules", [](nb::handle self) { return collect<Module>(self, for_each_module); },
            nb::sig("def named_modules(self) -> list[tuple[str, Module]]"),
            "The module itself under the empty name and all parts of it.")
        .def(
            "named_buffers",
            [](nb::handle self) {
                nb::list list;
                for_each_buffer(to_module(self), [&](const std::string& path, Tensor& t) {
                    list.append(nb::make_tuple(path, nb::cast(t)));
                });
                return list;
            },
            nb::sig("def named_buffers(self) -> list[tuple[str, Tensor]]"),
            "Values that are saved with the model but not trained, as running statistics.")
        .def(
            "requires_grad_",
            [](nb::handle self, bool on) {
                set_requires_grad(to_module(self), on);
                return nb::borrow(self);
            },
            "on"_a = true, nb::sig("def requires_grad_(self, on: bool = True) -> Module"),
            "Trains or freezes all parameters.")
        .def(
            "zero_grad", [](nb::handle self) { zero_grad(to_module(self)); },
            nb::sig("def zero_grad(self) -> None"), "Forgets all gradients.")
        .def(
            "name_modules", [](nb::handle self) { name_modules(to_module(self)); },
            nb::sig("def name_modules(self) -> None"),
            "Gives every part its path in this model; constructors do it.");
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
