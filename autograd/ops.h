#pragma once

#include <vector>

#include "autograd/tape.h"
#include "tensor/kernels/gemm.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// Operations on values of a tape. Shapes follow tensor/ops.h; so do the errors for shapes that do
// not fit.

/// Element by element; shapes are broadcast by NumPy's rules.
Var add(const Var& a, const Var& b);
Var sub(const Var& a, const Var& b);
Var mul(const Var& a, const Var& b);
Var operator+(const Var& a, const Var& b);
Var operator-(const Var& a, const Var& b);
Var operator*(const Var& a, const Var& b);

/// alpha x.
Var scale(const Var& x, real alpha);
Var operator*(const Var& x, real alpha);
Var operator*(real alpha, const Var& x);
Var neg(const Var& x);
Var operator-(const Var& x);

/// Element by element.
Var exp(const Var& x);
Var log(const Var& x);
Var tanh(const Var& x);
Var sqrt(const Var& x);
/// x to a constant power.
Var pow(const Var& x, real exponent);

/// The same values under another shape; one dimension may be -1.
Var reshape(const Var& x, Shape shape);
/// The axes in another order: y.size(i) = x.size(order[i]).
Var transpose(const Var& x, std::vector<std::int64_t> order);
/// Entries [begin, begin + count) of one axis.
Var slice(const Var& x, std::int64_t axis, std::int64_t begin, std::int64_t count);
/// Joined along one axis.
Var concat(const std::vector<Var>& parts, std::int64_t axis);

/// op(a) op(b) over the last two axes; leading axes are a batch, which one factor may lack.
Var matmul(const Var& a, const Var& b, Op op_a = Op::none, Op op_b = Op::none);

/// Over all elements: a scalar of shape ().
Var sum(const Var& x);
Var mean(const Var& x);
/// Over one axis, which is dropped.
Var sum(const Var& x, std::int64_t axis);
Var mean(const Var& x, std::int64_t axis);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
