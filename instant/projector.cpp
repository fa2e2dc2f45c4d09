#include "instant/projector.h"

#include <algorithm>
#include <cmath>

#include "tensor/kernels/skinny.h"
#include "tensor/ops.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
namespace {

double power(double eigenvalue, int exponent) {
    return std::pow(std::max(eigenvalue, 0.0), exponent);
}

/// Eigenvalues, divided by a power of two near the largest: shares of their squares stay the same,
/// to the bit, and the squares fit.
struct Scaled {
    explicit Scaled(const std::vector<double>& eigenvalues) : values(eigenvalues) {
        const double largest = values.empty() ? 0 : std::ranges::max(values);
        if (!(largest > 0) || !std::isfinite(largest)) return;
        exponent = std::ilogb(largest);
        for (double& value : values) value = std::ldexp(value, -exponent);
    }
    std::vector<double> values;
    int exponent = 0;
};

/// Up to this many rows a projection is bound by memory and has kernels of its own.
constexpr std::int64_t skinny_rows = 64;

void check(const Projector& projector, const Tensor& x) {
    const bool token = projector.side == Side::token;
    require(x.ndim() == 3, "[{}] expected (samples, tokens, channels) to project, got {}",
            current_layer(), shown(x.shape()));
    require(x.size(token ? 1 : 2) == projector.dim(), "[{}] calibrated for {} {}, got {}. Hint: {}",
            current_layer(), projector.dim(), token ? "tokens" : "channels", shown(x.shape()),
            token ? "pad sequences to one length, or use the channel side" : "calibrate again");
}

Projection onto(const Projector& projector, Tensor& out) {
    return {projector.basis.data(), projector.rank(), out.data()};
}

std::int64_t flops(const Projector& projector, const Tensor& x) {
    return 2 * projector.rank() * x.numel();
}

void count(const char* phase_name, std::int64_t flops) {
    const PhaseScope phase(phase_name);
    meter().add(flops);
}

/// Adds up (B, C), of which each row is the sum of `tokens` rows: in all one addition an element.
Tensor sum_samples(const Tensor& sums, std::int64_t tokens) {
    const PhaseScope phase("g_b");
    meter().add((tokens - 1) * sums.numel());
    return sum_tokens(sums.reshape({1, sums.size(0), sums.size(1)}));
}

}  // namespace

namespace {

double total(const std::vector<double>& eigenvalues, int exponent) {
    double sum = 0;
    for (const double value : eigenvalues) sum += power(value, exponent);
    return sum;
}

/// Of a decomposition that may be partial.
double total(const Eigen& spectrum, const Scaled& leading, int exponent) {
    if (std::ssize(spectrum.values) == spectrum.vectors.size(1))
        return total(leading.values, exponent);
    return std::ldexp(exponent == 1 ? spectrum.sum : spectrum.sum_squares,
                      -exponent * leading.exponent);
}

/// Of the leading eigenvalues of an n x n matrix, with the sum of squares of all.
std::int64_t truncated_rank(const std::vector<double>& leading, double squares, std::int64_t n,
                            const Truncation& truncation) {
    if (truncation.rank) return std::min(*truncation.rank, n);
    if (truncation.epsilon >= 1) return n;
    double kept = 0;
    std::size_t k = 0;
    while (k < leading.size() && (k == 0 || kept < truncation.epsilon * squares))
        kept += power(leading[k++], 2);
    return std::min(static_cast<std::int64_t>(k) + truncation.oversample, n);
}

double kept_share(const std::vector<double>& leading, std::int64_t rank, int exponent, double all) {
    double kept = 0;
    for (std::size_t i = 0; i < leading.size() && i < static_cast<std::size_t>(rank); ++i)
        kept += power(leading[i], exponent);
    return all > 0 ? kept / all : 1;
}

}  // namespace

std::int64_t truncated_rank(const std::vector<double>& eigenvalues, const Truncation& truncation) {
    const Scaled scaled(eigenvalues);
    return truncated_rank(scaled.values, total(scaled.values, 2), std::ssize(eigenvalues),
                          truncation);
}

std::int64_t truncated_rank(const Eigen& spectrum, const Truncation& truncation) {
    const Scaled scaled(spectrum.values);
    return truncated_rank(scaled.values, total(spectrum, scaled, 2), spectrum.vectors.size(1),
                          truncation);
}

double kept_share(const std::vector<double>& eigenvalues, std::int64_t rank, int exponent) {
    const Scaled scaled(eigenvalues);
    return kept_share(scaled.values, rank, exponent, total(scaled.values, exponent));
}

double kept_share(const Eigen& spectrum, std::int64_t rank, int exponent) {
    const Scaled scaled(spectrum.values);
    return kept_share(scaled.values, rank, exponent, total(spectrum, scaled, exponent));
}

Eigen leading_spectrum(const Tensor& autocorrelation, const Truncation& truncation,
                       const Tensor& start) {
    constexpr std::int64_t small = 256, first_count = 16;
    const std::int64_t n = autocorrelation.size(0);
    if (n < small || (!truncation.rank && truncation.epsilon >= 1)) return eigh(autocorrelation);
    if (truncation.rank) return eigh_leading(autocorrelation, std::min(*truncation.rank, n), start);
    // How many are needed only shows on the way.
    std::int64_t count = start.defined() ? start.size(0) : first_count + truncation.oversample;
    for (; 4 * count <= n; count *= 2) {
        Eigen spectrum = eigh_leading(autocorrelation, count, start);
        const bool enough =
            kept_share(spectrum, count - truncation.oversample, 2) >= truncation.epsilon;
        if (enough && count > truncation.oversample) return spectrum;
    }
    return eigh(autocorrelation);
}

Projector make_projector(const Eigen& spectrum, Side side, const Truncation& truncation) {
    const std::int64_t rank = truncated_rank(spectrum, truncation);
    Projector projector{side, spectrum.vectors.rows(0, rank).clone(), kept_share(spectrum, rank, 2),
                        kept_share(spectrum, rank, 1)};
    if (truncation.offset != Offset::none) {
        const double kept =
            truncation.offset == Offset::energy ? projector.energy : projector.signal;
        scale_in_place(projector.basis, static_cast<real>(1 / std::sqrt(kept)));
    }
    projector.basis.mark(Category::projectors);
    return projector;
}

Tensor project(const Projector& projector, const Tensor& x) {
    check(projector, x);
    if (projector.side == Side::channel)
        return matmul(x, projector.basis, Op::none, Op::transpose);  // (B·L,C)·(C,R)
    if (projector.rank() > skinny_rows) return matmul(projector.basis, x);
    Tensor x_hat({x.size(0), projector.rank(), x.size(2)});  // (R,L)·(L,C) a sample
    project_tokens(x.size(0), x.size(1), x.size(2), x.data(), {{onto(projector, x_hat)}});
    meter().add(flops(projector, x));
    return x_hat;
}

ProjectedGradient project(const Projector* p, const Projector* q, const Tensor& g, bool with_sum) {
    ProjectedGradient result;
    if (p && q && p->side == Side::token && q->side == Side::token &&
        p->rank() + q->rank() <= skinny_rows) {
        check(*p, g);
        check(*q, g);
        result.p = Tensor({g.size(0), p->rank(), g.size(2)});
        result.q = Tensor({g.size(0), q->rank(), g.size(2)});
        std::vector<Projection> pass{onto(*p, result.p), onto(*q, result.q)};
        const std::vector<real> ones(static_cast<std::size_t>(g.size(1)), 1);
        Tensor sums = with_sum ? Tensor({g.size(0), g.size(2)}) : Tensor();  // 1ᵀ g
        if (with_sum) pass.push_back({ones.data(), 1, sums.data()});
        project_tokens(g.size(0), g.size(1), g.size(2), g.data(), pass);
        count("g_w", flops(*p, g));
        count("g_x", flops(*q, g));
        if (with_sum) result.sum = sum_samples(sums, g.size(1));
        return result;
    }
    if (p) {
        const PhaseScope phase("g_w");
        result.p = project(*p, g);
    }
    if (q) {
        const PhaseScope phase("g_x");
        result.q = project(*q, g);
    }
    return result;
}

Tensor expand(const Projector& projector, const Tensor& g_hat) {
    require(g_hat.ndim() == 3 && g_hat.size(1) == projector.rank(),
            "[{}] expected a projection (samples, {}, channels), got {}", current_layer(),
            projector.rank(), shown(g_hat.shape()));
    const std::int64_t batch = g_hat.size(0), length = projector.dim(), channels = g_hat.size(2);
    if (projector.rank() > skinny_rows)
        return matmul(projector.basis, g_hat, Op::transpose, Op::none);
    Tensor g({batch, length, channels});  // (L,R)·(R,C) a sample
    expand_tokens(batch, projector.rank(), length, channels, projector.basis.data(), g_hat.data(),
                  g.data());
    meter().add(2 * projector.rank() * g.numel());
    return g;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
