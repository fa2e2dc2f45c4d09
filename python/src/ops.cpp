// Operations on tensors, and the same on values of a tape.

#include "autograd/ops.h"

#include "bind.h"
#include "nn/losses.h"
#include "tensor/linalg.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

Op op(bool transpose) { return transpose ? Op::transpose : Op::none; }

void bind_products(nb::module_& core) {
    core.def(
        "matmul",
        [](const Tensor& a, const Tensor& b, bool ta, bool tb) {
            return matmul(a, b, op(ta), op(tb));
        },
        "a"_a, "b"_a, "transpose_a"_a = false, "transpose_b"_a = false, no_gil(),
        "The product over the last two axes, either factor transposed there. Leading axes are a "
        "batch: equal, or missing in one factor. Counts 2 m n k FLOPs. Raises sg.Error if the "
        "inner dimensions differ.");
    core.def(
        "matmul",
        [](const Var& a, const Var& b, bool ta, bool tb) { return matmul(a, b, op(ta), op(tb)); },
        "a"_a, "b"_a, "transpose_a"_a = false, "transpose_b"_a = false, no_gil(), keep_tape());
    core.def(
        "matmul_sum", &matmul_sum, "a"_a, "b"_a, no_gil(),
        "Σ_b a_bᵀ b_b for a (B, L, M) and b (B, L, N): (M, N), one product of inner size B·L.");
    core.def(
        "eigh",
        [](const Tensor& symmetric) {
            EigenDecomposition eigen;
            {
                const nb::gil_scoped_release release;
                eigen = eigh(symmetric);
            }
            return std::make_pair(eigen.values, eigen.vectors);
        },
        "symmetric"_a,
        "Eigenvalues in descending order, as a list, and the eigenvectors as rows (n, n). Computed "
        "in double in both precisions.");
}

void bind_shapes(nb::module_& core) {
    core.def(
        "reshape", [](const Var& x, const Ints& shape) { return reshape(x, to_shape(shape)); },
        "x"_a, "shape"_a, keep_tape(),
        "The same values under another shape; one dimension may be -1.");
    core.def(
        "reshape", [](const Tensor& x, const Ints& shape) { return x.reshape(to_shape(shape)); },
        "x"_a, "shape"_a);
    core.def(
        "transpose", [](const Var& x, const Ints& order) { return transpose(x, to_shape(order)); },
        "x"_a, "order"_a, no_gil(), keep_tape(),
        "The axes in another order: y.shape[i] = x.shape[order[i]].");
    core.def(
        "transpose",
        [](const Tensor& x, const Ints& order) { return transpose(x, to_shape(order)); }, "x"_a,
        "order"_a, no_gil());
    core.def(
        "slice",
        [](const Var& x, const Int& axis, const Int& begin, const Int& count) {
            return slice(x, axis, begin, count);
        },
        "x"_a, "axis"_a, "begin"_a, "count"_a, no_gil(), keep_tape(),
        "Entries begin … begin + count - 1 of one axis.");
    core.def(
        "slice",
        [](const Tensor& x, const Int& axis, const Int& begin, const Int& count) {
            return slice(x, axis, begin, count);
        },
        "x"_a, "axis"_a, "begin"_a, "count"_a, no_gil());
    core.def(
        "concat",
        [](const std::vector<Var>& parts, const Int& axis) { return concat(parts, axis); },
        "parts"_a, "axis"_a, no_gil(), keep_tape(), "Joined along one axis.");
    core.def(
        "concat",
        [](const std::vector<Tensor>& parts, const Int& axis) { return concat(parts, axis); },
        "parts"_a, "axis"_a, no_gil());
}

template <class F>
void bind_elementary(nb::module_& core, const char* name, F f, const char* doc) {
    core.def(name, f, "x"_a, no_gil(), keep_tape(), doc);
}

void bind_sums(nb::module_& core) {
    core.def(
        "sum",
        [](const Var& x, const std::optional<Int>& axis) {
            return axis ? sum(x, std::int64_t{*axis}) : sum(x);
        },
        "x"_a, "axis"_a = nb::none(), no_gil(), keep_tape(),
        "Over all elements, a scalar of shape (); or over one axis, which is dropped.");
    core.def(
        "sum",
        [](const Tensor& x, const std::optional<Int>& axis) {
            return axis ? sum(x, std::int64_t{*axis}) : Tensor::scalar(static_cast<real>(sum(x)));
        },
        "x"_a, "axis"_a = nb::none(), no_gil());
    core.def(
        "mean",
        [](const Var& x, const std::optional<Int>& axis) {
            return axis ? mean(x, std::int64_t{*axis}) : mean(x);
        },
        "x"_a, "axis"_a = nb::none(), no_gil(), keep_tape(),
        "The mean over all elements, a scalar of shape (); or over one axis, which is dropped.");
}

void bind_losses(nb::module_& core) {
    core.def(
        "cross_entropy",
        [](const Var& logits, nb::handle labels, double label_smoothing,
           const Int32& ignore_index) {
            const CrossEntropyOptions options{label_smoothing, ignore_index};
            const std::vector<std::int32_t> values = to_indices(labels, "cross_entropy").values;
            const nb::gil_scoped_release release;
            return cross_entropy(logits, values, options);
        },
        "logits"_a, "labels"_a.none(), "label_smoothing"_a = 0.0, "ignore_index"_a = -100,
        keep_tape(),
        "The mean of -log softmax(logits)[label]: logits (N, C) or (..., C), one integer label a "
        "row; a scalar. Raises sg.Error for labels that are no integers, and for one out of range, "
        "naming the sample.");
    core.def("mse", &mse, "x"_a, "target"_a, no_gil(), keep_tape(),
             "The mean over all elements of (x - target)²; a scalar. Shapes must be equal.");
}

}  // namespace

void bind_ops(nb::module_& core) {
    bind_products(core);
    bind_shapes(core);
    bind_sums(core);
    bind_losses(core);
    bind_elementary(
        core, "exp", [](const Var& x) { return exp(x); }, "eˣ, element by element.");
    bind_elementary(
        core, "log", [](const Var& x) { return log(x); }, "ln x, element by element.");
    bind_elementary(
        core, "tanh", [](const Var& x) { return tanh(x); }, "tanh x, element by element.");
    bind_elementary(
        core, "sqrt", [](const Var& x) { return sqrt(x); }, "√x, element by element.");
    core.def(
        "pow", [](const Var& x, double exponent) { return pow(x, static_cast<real>(exponent)); },
        "x"_a, "exponent"_a, no_gil(), keep_tape(), "x to a constant power, element by element.");
    core.def(
        "softmax", [](const Tensor& x) { return softmax(x); }, "x"_a, no_gil(),
        "softmax over the last axis of a tensor. On a tape: sg.nn.Softmax().");
    core.def("sum_rows", &sum_rows, "x"_a, no_gil(),
             "Sum over all axes but the last: (..., n) -> (n,).");
    core.def("sum_squares", &sum_squares, "x"_a, no_gil(),
             "The sum of squares of all elements, accumulated in double.");
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
