#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>

#include "tensor/ops.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Standard normal values.
inline Tensor random(Shape shape, std::uint64_t seed = 1) {
    Stream stream(seed, "test");
    return normal(std::move(shape), 0, 1, stream);
}

/// Expects ‖a − b‖ < tolerance · ‖b‖; of zeros, a of zeros to within the tolerance.
inline void expect_close(const Tensor& a, const Tensor& b, const std::string& what,
                         double tolerance = sizeof(real) == 8 ? 1e-12 : 2e-5) {
    ASSERT_EQ(a.shape(), b.shape()) << what;
    const double size = std::sqrt(sum_squares(b));
    EXPECT_LT(std::sqrt(sum_squares(a - b)), tolerance * (size > 0 ? size : 1)) << what;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
