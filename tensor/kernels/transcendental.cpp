#include "tensor/kernels/transcendental.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr real sqrt1_2 = static_cast<real>(1 / std::numbers::sqrt2);
constexpr real inv_sqrt_2pi = static_cast<real>(std::numbers::inv_sqrtpi / std::numbers::sqrt2);
constexpr real sqrt_2_pi = static_cast<real>(std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
constexpr real cubic = static_cast<real>(0.044715);

}  // namespace

void gelu_erf_plain(std::int64_t n, const real* x, real* y) {
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] * real(0.5) * (1 + std::erf(x[i] * sqrt1_2));
    meter().add(5 * n);
}

void gelu_erf_backward_plain(std::int64_t n, const real* x, const real* gy, real* gx) {
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t i = 0; i < n; ++i) {
        const real cdf = real(0.5) * (1 + std::erf(x[i] * sqrt1_2));
        const real pdf = inv_sqrt_2pi * std::exp(real(-0.5) * x[i] * x[i]);
        gx[i] = gy[i] * (cdf + x[i] * pdf);
    }
    meter().add(11 * n);
}

void gelu_tanh(std::int64_t n, const real* x, real* y) {
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t i = 0; i < n; ++i) {
        const real inner = sqrt_2_pi * (x[i] + cubic * x[i] * x[i] * x[i]);
        y[i] = real(0.5) * x[i] * (1 + std::tanh(inner));
    }
    meter().add(9 * n);
}

void gelu_tanh_backward(std::int64_t n, const real* x, const real* gy, real* gx) {
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t i = 0; i < n; ++i) {
        const real t = std::tanh(sqrt_2_pi * (x[i] + cubic * x[i] * x[i] * x[i]));
        const real slope = sqrt_2_pi * (1 + 3 * cubic * x[i] * x[i]);
        gx[i] = gy[i] * real(0.5) * (1 + t + x[i] * (1 - t * t) * slope);
    }
    meter().add(18 * n);
}

void silu(std::int64_t n, const real* x, real* y) {
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] / (1 + std::exp(-x[i]));
    meter().add(4 * n);
}

void silu_backward(std::int64_t n, const real* x, const real* gy, real* gx) {
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t i = 0; i < n; ++i) {
        const real s = 1 / (1 + std::exp(-x[i]));
        gx[i] = gy[i] * s * (1 + x[i] * (1 - s));
    }
    meter().add(8 * n);
}

void exp(std::int64_t n, const real* x, real* y) {
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t i = 0; i < n; ++i) y[i] = std::exp(x[i]);
    meter().add(n);
}

void log(std::int64_t n, const real* x, real* y) {
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t i = 0; i < n; ++i) y[i] = std::log(x[i]);
    meter().add(n);
}

void tanh(std::int64_t n, const real* x, real* y) {
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t i = 0; i < n; ++i) y[i] = std::tanh(x[i]);
    meter().add(n);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
