#include "tensor/kernels/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr std::int64_t block = 128;  // rows whose weight gradients are summed by one thread

/// One row: x̂ = (x - μ) r, h = g ∘ γ and g_x = r (h - mean(h) - x̂ mean(h ∘ x̂)).
void input_gradient(std::int64_t n, const real* g, const real* x, const real* gamma, real mean,
                    real rstd, real* gx) {
    real sum_h = 0, sum_hx = 0;
#pragma omp simd reduction(+ : sum_h, sum_hx)
    for (std::int64_t i = 0; i < n; ++i) {
        const real h = g[i] * gamma[i];
        sum_h += h;
        sum_hx += h * ((x[i] - mean) * rstd);
    }
    const real mean_h = sum_h / static_cast<real>(n), mean_hx = sum_hx / static_cast<real>(n);
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i)
        gx[i] = rstd * (g[i] * gamma[i] - mean_h - (x[i] - mean) * rstd * mean_hx);
}

/// One row's share of g_γ and g_β.
void weight_gradient(std::int64_t n, const real* g, const real* x, real mean, real rstd,
                     real* g_gamma, real* g_beta) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) {
        g_gamma[i] += g[i] * ((x[i] - mean) * rstd);
        g_beta[i] += g[i];
    }
}

}  // namespace

void layer_norm_forward(std::int64_t rows, std::int64_t n, const real* x, const real* gamma,
                        const real* beta, real eps, real* y, real* stats) {
#pragma omp parallel for schedule(static) if (rows * n > parallel_threshold)
    for (std::int64_t r = 0; r < rows; ++r) {
        const real* from = x + r * n;
        real* to = y + r * n;
        real total = 0, squares = 0;
#pragma omp simd reduction(+ : total)
        for (std::int64_t i = 0; i < n; ++i) total += from[i];
        const real mean = total / static_cast<real>(n);
#pragma omp simd reduction(+ : squares)
        for (std::int64_t i = 0; i < n; ++i) squares += (from[i] - mean) * (from[i] - mean);
        const real rstd = 1 / std::sqrt(squares / static_cast<real>(n) + eps);
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i) to[i] = (from[i] - mean) * rstd * gamma[i] + beta[i];
        stats[2 * r] = mean;
        stats[2 * r + 1] = rstd;
    }
}

void layer_norm_gx(std::int64_t rows, std::int64_t n, const real* gy, const real* x,
                   const real* gamma, const real* stats, real* gx) {
#pragma omp parallel for schedule(static) if (rows * n > parallel_threshold)
    for (std::int64_t r = 0; r < rows; ++r)
        input_gradient(n, gy + r * n, x + r * n, gamma, stats[2 * r], stats[2 * r + 1], gx + r * n);
}

void layer_norm_backward(std::int64_t rows, std::int64_t n, const real* gy, const real* x,
                         const real* gamma, const real* stats, real* gx, real* g_gamma,
                         real* g_beta) {
    const std::int64_t blocks = std::max<std::int64_t>(1, (rows + block - 1) / block);
    Tensor partial = Tensor::zeros({blocks, 2, n});
#pragma omp parallel for schedule(static) if (rows * n > parallel_threshold)
    for (std::int64_t b = 0; b < blocks; ++b) {
        real* sums = partial.data() + b * 2 * n;
        for (std::int64_t r = b * block; r < std::min((b + 1) * block, rows); ++r) {
            const real *g = gy + r * n, *v = x + r * n;
            const real mean = stats[2 * r], rstd = stats[2 * r + 1];
            if (gx != nullptr) input_gradient(n, g, v, gamma, mean, rstd, gx + r * n);
            weight_gradient(n, g, v, mean, rstd, sums, sums + n);
        }
    }
    std::fill_n(g_gamma, n, real(0));
    std::fill_n(g_beta, n, real(0));
    for (std::int64_t b = 0; b < blocks; ++b) {
        const real* sums = partial.data() + b * 2 * n;
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i) {
            g_gamma[i] += sums[i];
            g_beta[i] += sums[n + i];
        }
    }
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
