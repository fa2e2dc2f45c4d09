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

/// Up to this many rows a projection is bound by memory and has kernels of its own.
constexpr std::int64_t skinny_rows = 64;

void check(const Projector& projector, const Tensor& x) {
    const bool token = projector.side == Side::token;
    require(x.size(token ? 1 : 2) == projector.dim(), "[{}] calibrated for {} {}, got {}. Hint: {}",
            current_layer(), projector.dim(), token ? "tokens" : "channels", to_string(x.shape()),
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

}  // namespace

double kept_share(const std::vector<double>& eigenvalues, std::int64_t rank, int exponent) {
    double kept = 0, total = 0;
    for (std::size_t i = 0; i < eigenvalues.size(); ++i) {
        total += power(eigenvalues[i], exponent);
        if (i < static_cast<std::size_t>(rank)) kept += power(eigenvalues[i], exponent);
    }
    return total > 0 ? kept / total : 1;
}

std::int64_t truncated_rank(const std::vector<double>& eigenvalues, const Truncation& truncation) {
    const auto n = static_cast<std::int64_t>(eigenvalues.size());
    if (truncation.rank) return std::min(*truncation.rank, n);
    if (truncation.epsilon >= 1) return n;
    double total = 0;
    for (const double value : eigenvalues) total += power(value, 2);
    double kept = 0;
    std::int64_t k = 0;
    while (k < n && (k == 0 || kept < truncation.epsilon * total))
        kept += power(eigenvalues[static_cast<std::size_t>(k++)], 2);
    return std::min(k + truncation.oversample, n);
}

Projector make_projector(const Eigen& spectrum, Side side, const Truncation& truncation) {
    const std::int64_t rank = truncated_rank(spectrum.values, truncation);
    Projector projector{side, spectrum.vectors.rows(0, rank).clone(),
                        kept_share(spectrum.values, rank, 2), kept_share(spectrum.values, rank, 1)};
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

ProjectedGradient project(const Projector* p, const Projector* q, const Tensor& g) {
    ProjectedGradient result;
    if (p && q && p->side == Side::token && q->side == Side::token &&
        p->rank() + q->rank() <= skinny_rows) {
        check(*p, g);
        check(*q, g);
        result.p = Tensor({g.size(0), p->rank(), g.size(2)});
        result.q = Tensor({g.size(0), q->rank(), g.size(2)});
        project_tokens(g.size(0), g.size(1), g.size(2), g.data(),
                       {{onto(*p, result.p), onto(*q, result.q)}});
        count("g_w", flops(*p, g));
        count("g_x", flops(*q, g));
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
