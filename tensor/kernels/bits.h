#pragma once

#include <cstdint>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// Masks of one bit an element: element i of a run has bit i % 8 of byte i / 8. These kernels work
// on one thread and count nothing; their callers do both.

/// y_i = max(x_i, 0), and bit i tells whether x_i > 0. With a bound that is not NaN, also
/// y_i <= most, and only where x_i < most is the bit set. NaN passes, its bit is 0. y may be x.
void rectify(std::int64_t n, const real* x, real most, real* y, std::uint8_t* bits);

/// y_i = scale x_i where bit i is set, else 0. y may be x.
void select_by_bits(std::int64_t n, const std::uint8_t* bits, real scale, const real* x, real* y);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
