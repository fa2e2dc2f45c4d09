#pragma once

#include <cstdint>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// Layer normalisation of every row of x: (rows, n), in one pass over memory each way: a row stays
// in the first cache while it is read again. They do not count FLOPs.

/// y = γ ∘ (x - μ) r + β with the row's mean μ and r = 1 / √(σ² + eps). stats: (rows, 2), μ and r.
void layer_norm_forward(std::int64_t rows, std::int64_t n, const real* x, const real* gamma,
                        const real* beta, real eps, real* y, real* stats);

/// g_x: (rows, n), see nn/layer_norm.cpp.
void layer_norm_gx(std::int64_t rows, std::int64_t n, const real* gy, const real* x,
                   const real* gamma, const real* stats, real* gx);

/// g_γ = Σ g ∘ x̂ and g_β = Σ g, (n,) each; and g_x in the same pass unless it is null. Sums go
/// through blocks of rows of a fixed size: they do not depend on the number of threads.
void layer_norm_backward(std::int64_t rows, std::int64_t n, const real* gy, const real* x,
                         const real* gamma, const real* stats, real* gx, real* g_gamma,
                         real* g_beta);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
