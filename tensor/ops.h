#pragma once

#include <vector>

#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/gemm.h"
#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The shape that NumPy's rules broadcast two shapes to. Throws Error if they do not fit.
Shape broadcast_shape(const Shape& a, const Shape& b);
/// x repeated along the axes where its length is 1 or missing.
Tensor broadcast_to(const Tensor& x, const Shape& shape);
/// The adjoint of broadcast_to: sums over the axes that were repeated.
Tensor sum_to(const Tensor& x, const Shape& shape);

Tensor operator+(const Tensor& a, const Tensor& b);
Tensor operator-(const Tensor& a, const Tensor& b);
Tensor operator*(const Tensor& a, const Tensor& b);
Tensor operator*(const Tensor& a, real alpha);

/// op(a) op(b) over the last two axes. Leading axes are a batch; they must be equal, or one factor
/// has none and is shared by the whole batch. Throws Error if the inner dimensions differ.
Tensor matmul(const Tensor& a, const Tensor& b, Op op_a = Op::none, Op op_b = Op::none);

/// Σ_b a_bᵀ b_b for a: (B, L, M) and b: (B, L, N): one product of inner size B·L. Returns (M, N).
Tensor matmul_sum(const Tensor& a, const Tensor& b);

/// The axes in another order, as a new tensor: y.size(i) = x.size(order[i]).
Tensor transpose(const Tensor& x, const std::vector<std::int64_t>& order);

/// Sum over all axes but the last: (..., n) -> (n,).
Tensor sum_rows(const Tensor& x);
/// The same of (B, L, C), in another order: the tokens of each sample, then the samples. Throws
/// Error unless there are three axes.
Tensor sum_tokens(const Tensor& x);
/// Sum over one axis, which is dropped.
Tensor sum(const Tensor& x, std::int64_t axis);
/// Sum of all elements, accumulated in double.
double sum(const Tensor& x);
/// Sum of squares of all elements, accumulated in double.
double sum_squares(const Tensor& x);
bool all_finite(const Tensor& x);

/// Entries [begin, begin + count) of one axis, as a new tensor.
Tensor slice(const Tensor& x, std::int64_t axis, std::int64_t begin, std::int64_t count);
/// The adjoint of slice: x placed at [begin, ...) of an axis of length `length`, zeros elsewhere.
Tensor pad(const Tensor& x, std::int64_t axis, std::int64_t begin, std::int64_t length);
/// Tensors joined along one axis; all other lengths must be equal.
Tensor concat(const std::vector<Tensor>& parts, std::int64_t axis);

/// softmax over the last axis, shifted by the row's maximum.
Tensor softmax(const Tensor& x);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
