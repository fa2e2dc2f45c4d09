#pragma once

#include "autograd/saved.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

/// y_i = mask_i ? scale x_i : 0. Counts one FLOP an element.
Tensor masked(const BitMask& mask, const Tensor& x, real scale = 1);

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
