// Functions written in Python, and what they save.

#include "autograd/function.h"

#include "executing.h"
#include "function_adapter.h"
#include "saved_view.h"
#include "tensor/meter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

/// Calls the methods of a Python object: forward(inputs, saved) and backward(gy, saved).
class PythonFunction final : public Function {
  public:
    PythonFunction(nb::object function, bool kept)
        : name_(text(nb::object(function.attr("name")))), function_(function) {
        if (!kept) held_.emplace(std::move(function));
    }

    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> inputs, Saved& saved) const override {
        const nb::gil_scoped_acquire gil;
        const Executing executing(8 * sizeof(real));
        const SavedScope view(saved);
        nb::list list;
        for (const Tensor& input : inputs) list.append(nb::cast(input));
        return to_tensor_or_scalar(function_.attr("forward")(list, view.object()), name_.c_str());
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const nb::gil_scoped_acquire gil;
        const Executing executing(8 * sizeof(real));
        const SavedScope view(saved);
        nb::object result = function_.attr("backward")(nb::cast(gy), view.object());
        if (!nb::isinstance<nb::tuple>(result) && !nb::isinstance<nb::list>(result))
            result = nb::make_tuple(result);
        std::vector<Grad> grads;
        for (const nb::handle grad : result)
            grads.emplace_back(grad.is_none() ? Tensor()
                                              : to_tensor_or_scalar(grad, name_.c_str()));
        return grads;
    }

  private:
    std::string name_;
    nb::handle function_;
    std::optional<PythonObject> held_;
};

Keep parse_keep(const std::string& kind) {
    if (kind == "activation") return Keep::activation;
    if (kind == "exact") return Keep::exact;
    fail("[saved] unknown kind '{}'; known: activation, exact", kind);
}

/// A dense tensor that several layers may share. It holds the object in whose name it was made:
/// another at its address would be taken for it.
class KeptTensor final : public PackedTensor {
  public:
    KeptTensor(Tensor value, nb::handle owner)
        : value_(std::move(value)), owner_(nb::borrow(owner)) {}
    std::vector<std::shared_ptr<Storage>> held() const override { return {value_.storage()}; }
    Tensor unpack() const override { return value_; }

  private:
    Tensor value_;
    PythonObject owner_;
};

void keep_once(const SavedView& saved, const std::string& slot, nb::handle owner, nb::handle value,
               const nb::callable& make) {
    saved.writing().keep_once(slot, owner.ptr(), to_tensor(value, "saved"), [&] {
        return std::make_shared<KeptTensor>(to_tensor(make(), "saved"), owner);
    });
}

}  // namespace

std::shared_ptr<const Function> adapt_function(nb::object function, bool kept) {
    require(nb::hasattr(function, "forward") && nb::hasattr(function, "backward"),
            "[apply] expected a sg.Function with forward and backward, got {}",
            text(function.type()));
    return std::make_shared<PythonFunction>(std::move(function), kept);
}

void bind_function(nb::module_& here) {
    nb::class_<SavedView>(here, "Saved",
                          "What one executed call keeps between its forward and its backward, by "
                          "name. The byte ledger counts it. Valid inside that call only.")
        .def(
            "keep",
            [](const SavedView& saved, const std::string& slot, nb::handle value,
               const std::string& kind) {
                saved.writing().keep(parse_keep(kind), slot, to_tensor(value, "saved"));
            },
            "slot"_a, "value"_a.none(), "kind"_a = "activation",
            nb::sig("def keep(self, slot: str, value: object, kind: str = 'activation') -> None"),
            "Keeps a tensor or array for backward, not a copy of it. kind: 'activation' (a codec "
            "may store it lossily) or 'exact' (parameters, statistics).")
        .def("keep_once", &keep_once, "slot"_a, "owner"_a.none(), "value"_a.none(), "make"_a,
             nb::sig("def keep_once(self, slot: str, owner: object, value: object, make: "
                     "collections.abc.Callable[[], object]) -> None"),
             "Keeps make(), called once for each owner and value: layers that get the same x (Q, K "
             "and V) then share what is made of it, and it is counted once.")
        .def(
            "needs",
            [](const SavedView& saved, Integer<std::size_t> i) { return saved.reading().needs(i); },
            "input"_a, "Whether that input of the call needs a gradient.")
        .def(
            "__contains__",
            [](const SavedView& saved, const std::string& slot) {
                return saved.reading().has(slot);
            },
            "Whether something was kept under this name.")
        .def(
            "__getitem__",
            [](const SavedView& saved, const std::string& slot) {
                return saved.reading().tensor(slot);
            },
            "The tensor that was kept. Raises sg.Error for another name.");
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
