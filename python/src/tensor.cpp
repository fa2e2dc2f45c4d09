// Tensor: values, without gradients.

#include "tensor/tensor.h"

#include "bind.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

nb::object array_of(const Tensor& tensor, nb::handle dtype, nb::handle copy) {
    nb::object array = to_numpy(tensor);
    if (!dtype.is_none() &&
        text(nb::module_::import_("numpy").attr("dtype")(dtype)) != dtype_name) {
        if (copy.is(Py_False))
            throw nb::value_error("a tensor becomes an array of another dtype only by a copy");
        return array.attr("astype")(dtype);
    }
    return copy.is(Py_True) ? array.attr("copy")() : array;
}

std::string repr(const Tensor& tensor) {
    if (!tensor.defined()) return "Tensor()";
    const std::string values = nb::cast<std::string>(nb::module_::import_("numpy").attr(
        "array2string")(to_numpy(tensor), "separator"_a = ", ", "prefix"_a = "Tensor("));
    return fmt::format("Tensor({}, dtype={})", values, dtype_name);
}

template <class Operation>
auto with_number(Operation operation) {
    return [operation](const Tensor& a, double b) {
        return operation(a, Tensor::scalar(to_real(b, "tensor")));
    };
}

/// The other operand is no tensor of this precision: an array is taken as one; a tensor of the
/// other precision is an error that says so; anything else is Python's to refuse.
template <class Operation>
auto with_other(const char* name, Operation operation) {
    return [name, operation](const Tensor& a, nb::handle b) -> nb::object {
        const bool number = PyFloat_Check(b.ptr()) || PyLong_Check(b.ptr());
        if (!number && !nb::hasattr(b, "__array__")) return nb::not_implemented();
        return nb::cast(operation(a, to_tensor_or_scalar(b, name)));
    };
}

void bind_arithmetic(nb::class_<Tensor>& tensor) {
    const auto add = [](const Tensor& a, const Tensor& b) { return a + b; };
    const auto sub = [](const Tensor& a, const Tensor& b) { return a - b; };
    const auto mul = [](const Tensor& a, const Tensor& b) { return a * b; };
    const auto product = [](const Tensor& a, const Tensor& b) { return matmul(a, b); };
    const char* doc = "Element by element, broadcast as in NumPy; arrays are taken as tensors.";
    tensor.def("__add__", add, nb::is_operator(), doc)
        .def("__add__", with_other("add", add), nb::is_operator())
        .def("__radd__", with_number(add), nb::is_operator(), doc)
        .def("__sub__", sub, nb::is_operator(), doc)
        .def("__sub__", with_other("subtract", sub), nb::is_operator())
        .def("__mul__", mul, nb::is_operator(), doc)
        .def("__mul__", with_other("multiply", mul), nb::is_operator())
        .def("__rmul__", with_number(mul), nb::is_operator(), doc)
        .def(
            "__truediv__", [](const Tensor& a, double b) { return a * to_real(1 / b, "tensor"); },
            nb::is_operator(), "Divides every element by a number.")
        .def(
            "__neg__", [](const Tensor& a) { return a * real(-1); }, nb::is_operator(),
            "-x, element by element.")
        .def("__matmul__", product, nb::is_operator(), no_gil(),
             "The product over the last two axes; see sg.matmul.")
        .def("__matmul__", with_other("matmul", product), nb::is_operator());
}

}  // namespace

void bind_tensor(nb::module_& core, nb::module_& here) {
    nb::class_<Tensor> tensor(
        here, "Tensor",
        "A dense array in row-major order. It shares its memory with np.asarray(t), t.numpy() and "
        "np.from_dlpack(t), which keep it alive; writing through them changes the tensor. What is "
        "computed with tensors is counted by sg.meter.");
    tensor
        .def_prop_ro(
            "shape", [](const Tensor& t) { return to_tuple(t.shape()); },
            nb::sig("def shape(self) -> tuple[int, ...]"), "The length of each axis.")
        .def_prop_ro("ndim", &Tensor::ndim, "The number of axes.")
        .def_prop_ro(
            "size", [](const Tensor& t) { return t.numel(); }, "The number of elements.")
        .def_prop_ro("nbytes", &Tensor::bytes, "Bytes of all elements.")
        .def_prop_ro(
            "dtype",
            [](const Tensor&) { return nb::module_::import_("numpy").attr("dtype")(dtype_name); },
            nb::sig("def dtype(self) -> numpy.dtype"), "The NumPy dtype: float32 or float64.")
        .def("item", &Tensor::item, "The value of a tensor with one element. Raises sg.Error else.")
        .def("__float__", &Tensor::item, "The value of a tensor with one element.")
        .def(
            "__len__",
            [](const Tensor& t) {
                require(t.ndim() > 0, "[tensor] a scalar has no length");
                return static_cast<std::size_t>(t.size(0));
            },
            "The length of the first axis.")
        .def("__repr__", &repr, "The values and the dtype.")
        .def(
            "reshape",
            [](const Tensor& t, const Ints& shape) { return t.reshape(to_shape(shape)); },
            "shape"_a, "The same memory under another shape; one dimension may be -1.")
        .def(
            "rows",
            [](const Tensor& t, const Int& begin, const Int& count) {
                return t.rows(begin, count);
            },
            "begin"_a, "count"_a,
            "`count` entries of the first axis from `begin` on, as a view of the same memory.")
        .def("clone", &Tensor::clone, "A copy of the values.")
        .def("__copy__", &Tensor::clone, "A copy of the values, as of an array.")
        .def(
            "__deepcopy__", [](const Tensor& t, nb::handle) { return t.clone(); }, "memo"_a,
            nb::sig("def __deepcopy__(self, memo: object) -> Tensor"), "A copy of the values.")
        .def(
            "__reduce__",
            [](const Tensor& t) {
                return nb::make_tuple(nb::module_::import_("slimgrad").attr("tensor"),
                                      nb::make_tuple(to_numpy(t.clone())));
            },
            nb::sig("def __reduce__(self) -> tuple"), "For pickle: the values as an array.")
        .def(
            "__getitem__",
            [](const Tensor& t, nb::handle index) -> nb::object { return to_numpy(t)[index]; },
            nb::sig("def __getitem__(self, index: object, /) -> numpy.typing.NDArray | float"),
            "What NumPy's indexing gives: np.asarray(t)[index], usually a view.")
        .def(
            "__setitem__",
            [](Tensor& t, nb::handle index, nb::handle value) {
                to_numpy(t)[index] = value;
                t.changed();
            },
            nb::sig("def __setitem__(self, index: object, value: object, /) -> None"),
            "Writes through NumPy's indexing: np.asarray(t)[index] = value.")
        .def("numpy", &to_numpy, nb::sig("def numpy(self) -> numpy.typing.NDArray"),
             "A NumPy array on the same memory; no copy.")
        .def("__array__", &array_of, "dtype"_a = nb::none(), "copy"_a = nb::none(),
             nb::sig("def __array__(self, dtype: object = None, copy: bool | None = None) -> "
                     "numpy.typing.NDArray"),
             "np.asarray(t): no copy unless another dtype is asked for.")
        .def(
            "__dlpack__",
            [](const Tensor& t, nb::kwargs options) {
                return to_numpy(t).attr("__dlpack__")(**options);
            },
            nb::sig("def __dlpack__(self, **options: object) -> object"),
            "A DLPack capsule on the same memory; for from_dlpack of NumPy, PyTorch and others.")
        .def(
            "__dlpack_device__", [](const Tensor&) { return nb::make_tuple(1, 0); },
            nb::sig("def __dlpack_device__(self) -> tuple[int, int]"), "The CPU: (1, 0).")
        .def_prop_ro(
            "T",
            [](const Tensor& t) {
                require(t.ndim() == 2, "[T] expected a matrix, got shape {}", to_string(t.shape()));
                return transpose(t, {1, 0});
            },
            "A matrix transposed, as a new tensor. In products prefer sg.matmul(..., "
            "transpose_b=True).");
    bind_arithmetic(tensor);

    here.def(
        "tensor", [](nb::handle array) { return to_tensor(array, "tensor"); }, "array"_a.none(),
        nb::sig("def tensor(array: object) -> Tensor"),
        "A tensor on the memory of an array of this precision; a copy if the array is read-only, "
        "misaligned or not in row-major order. Raises sg.Error for another dtype.");
    here.def(
        "zeros", [](const Ints& shape) { return Tensor::zeros(to_shape(shape)); }, "shape"_a,
        "Zeros.");
    core.def("identical", &identical, "a"_a, "b"_a,
             "Whether two tensors have one shape and equal bits.");
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
