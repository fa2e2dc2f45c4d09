#pragma once

#include "nn/linear_operator.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// The token side of a linear map, for matrices of (B, L, C). Up to some 64 rows a projection is
// bound by memory and has kernels of its own; beyond, it is a general product.

/// P x of P: (R, L), x: (B, L, C) -> (B, R, C).
Tensor project_tokens(const Subspace& p, const Tensor& x);

/// P g and Q g, as LinearOperator::project.
ProjectedGradient project_tokens(const Subspace* p, const Subspace* q, const Tensor& g,
                                 bool with_sum);

/// g_b from Σ g of each sample over its `tokens`, (B, C): to the bits of LinearOperator::gb, and
/// counted as all of that, an addition an element of g.
Tensor sum_samples(const Tensor& sums, std::int64_t tokens);

/// Qᵀ ĝ: (B, R, C) -> (B, L, C).
Tensor expand_tokens(const Subspace& q, const Tensor& g_hat);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
