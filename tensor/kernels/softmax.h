#pragma once

#include <cstdint>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The softmax of each of `rows` rows of n numbers, shifted by the row's maximum; y may be x. A row
/// that is -inf throughout becomes 0 / 0 = NaN, as in PyTorch; NaN passes through. Not parallel,
/// and counts nothing: the callers do.
void softmax_rows(std::int64_t rows, std::int64_t n, const real* x, real* y);
/// Its gradient, from y = softmax(x): gx = y ∘ (gy - Σ_row gy ∘ y); gx may be gy.
void softmax_rows_backward(std::int64_t rows, std::int64_t n, const real* y, const real* gy,
                           real* gx);

/// The same written out with the library's exp: what the faster kernels must match.
void softmax_rows_plain(std::int64_t rows, std::int64_t n, const real* x, real* y);
void softmax_rows_backward_plain(std::int64_t rows, std::int64_t n, const real* y, const real* gy,
                                 real* gx);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
