#include <bit>
#include <cstdint>
#include <limits>

#include "tensor/kernels/transcendental.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

#ifdef SLIMGRAD_DOUBLE

void softmax_row(std::int64_t n, const real* x, real* y) { softmax_row_plain(n, x, y); }

#else

namespace {

/// e^x for x <= 0, within 2 units in the last place; 0 below the smallest normal number. NaN passes
/// through. With n = round(x / ln 2) and r = x - n ln 2: e^x = 2ⁿ eʳ, eʳ by a minimax polynomial.
inline float exp_of_negative(float x) {
    constexpr float inverse_ln2 = 1.44269504F, ln2_high = 0.693359375F, ln2_low = -2.12194440e-4F;
    constexpr float rounder = 0x1.8p23F;  // adding it leaves a whole number in the last bits
    const float shifted = x * inverse_ln2 + rounder;
    const float n = shifted - rounder;
    const float r = x - n * ln2_high - n * ln2_low;
    float e = 0.00138366374F;
    e = e * r + 0.00837498065F;
    e = e * r + 0.0416682363F;
    e = e * r + 0.166664183F;
    e = e * r + 0.499999911F;
    e = e * r + 1;
    e = e * r + 1;
    const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) + 127) << 23;
    const float power = std::bit_cast<float>(exponent);
    return x < -87.0F ? 0 : e * power;
}

}  // namespace

void softmax_row(std::int64_t n, const real* x, real* y) {
    real peak = std::numeric_limits<real>::lowest();
#pragma omp simd reduction(max : peak)
    for (std::int64_t i = 0; i < n; ++i) peak = x[i] > peak ? x[i] : peak;
    real total = 0;
#pragma omp simd reduction(+ : total)
    for (std::int64_t i = 0; i < n; ++i) {
        y[i] = exp_of_negative(x[i] - peak);
        total += y[i];
    }
    const real inverse = 1 / total;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) y[i] *= inverse;
}

#endif

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
