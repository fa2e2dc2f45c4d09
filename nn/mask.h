#pragma once

#include <limits>

#include "autograd/saved.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// No bound, for those below.
inline constexpr real unbounded = std::numeric_limits<real>::quiet_NaN();

/// min(max(x, 0), most) in one pass with its mask: bit i of `passed` tells whether 0 < x_i < most.
/// Counts two FLOPs an element, and a third with a bound.
Tensor rectified(const Tensor& x, BitMask& passed, real most = unbounded);

/// y_i = mask_i ? scale x_i : 0. Counts one FLOP an element.
Tensor masked(const BitMask& mask, const Tensor& x, real scale = 1);

/// The same for n elements, of which the first belongs to bit `first` of the mask; x may be y.
/// Counts nothing, for parallel regions.
void apply_mask(const BitMask& mask, std::int64_t first, std::int64_t n, const real* x, real* y,
                real scale);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
