// Sequential, whose modules are Python's.

#include "bind.h"
#include "lifetimes.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

/// Modules one after the other; unlike nn/sequential.h it shares them with Python.
class SharedSequential final : public Module {
  public:
    explicit SharedSequential(std::vector<std::shared_ptr<Module>> modules)
        : modules_(std::move(modules)) {}
    const std::vector<std::shared_ptr<Module>>& modules() const { return modules_; }
    Var forward(const Var& x) override {
        Var y = x;
        for (const auto& module : modules_) y = module->forward(y);
        return y;
    }
    void visit(Visitor& visitor) override {
        for (std::size_t i = 0; i < modules_.size(); ++i)
            visitor.module(std::to_string(i), *modules_[i]);
    }
    std::string kind() const override { return "sequential"; }

  private:
    std::vector<std::shared_ptr<Module>> modules_;
};

/// Each of its pointers holds one reference to the Python object of a module.
int traverse(PyObject* self, visitproc visit, void* arg) {
    for (const PyType_Slot* slot = collected(); slot->slot != 0; ++slot)
        if (slot->slot == Py_tp_traverse)
            if (const int result = reinterpret_cast<traverseproc>(slot->pfunc)(self, visit, arg))
                return result;
    if (!nb::inst_ready(self)) return 0;
    for (const auto& module : nb::inst_ptr<SharedSequential>(self)->modules()) {
        const nb::object object = nb::find(module.get());
        Py_VISIT(object.ptr());
    }
    return 0;
}

const PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse)}, {0, nullptr}};

}  // namespace

void bind_sequential(nb::module_& here) {
    nb::class_<SharedSequential, Module>(here, "Sequential", nb::is_final(), nb::type_slots(slots),
                                         "Modules one after the other, named 0, 1, …")
        .def(
            "__init__",
            [](SharedSequential* self, const nb::args& modules) {
                std::vector<std::shared_ptr<Module>> parts;
                for (const nb::handle module : modules) {
                    to_module(module);  // throws unless it is one
                    parts.push_back(nb::cast<std::shared_ptr<Module>>(module));
                }
                new (self) SharedSequential(std::move(parts));
                name_modules(*self);
            },
            nb::sig("def __init__(self, *modules: Module) -> None"), "The modules, in order.")
        .def(
            "__len__", [](const SharedSequential& self) { return self.modules().size(); },
            "How many modules.")
        .def(
            "__getitem__",
            [](const SharedSequential& self, const Int& index) {
                const std::int64_t i = index, count = std::ssize(self.modules());
                require(i >= -count && i < count, "[sequential] there is no module {}, only {}", i,
                        count);
                return self.modules()[static_cast<std::size_t>(i < 0 ? i + count : i)];
            },
            "The i-th module; negative numbers count from the end.")
        .def(
            "__iter__",
            [](const SharedSequential& self) { return nb::iter(nb::cast(self.modules())); },
            nb::sig("def __iter__(self) -> collections.abc.Iterator[Module]"),
            "The modules, in order.")
        .def(
            "_constructor_arguments",
            [](const SharedSequential& self) { return nb::tuple(nb::cast(self.modules())); },
            "What the constructor was given.");
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
