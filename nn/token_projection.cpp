#include "nn/token_projection.h"

#include "tensor/kernels/skinny.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr std::int64_t skinny_rows = 64;

void check(const Subspace& subspace, const Tensor& x) {
    require(x.ndim() == 3, "[{}] expected (samples, tokens, channels) to project, got {}",
            current_layer(), shown(x.shape()));
    require_fits(subspace, x.size(1), x.size(2));
}

Projection onto(const Subspace& subspace, Tensor& out) {
    return {subspace.basis.data(), subspace.rank(), out.data()};
}

std::int64_t flops(const Subspace& subspace, const Tensor& x) {
    return 2 * subspace.rank() * x.numel();
}

void count(const char* phase_name, std::int64_t flops) {
    const PhaseScope phase(phase_name);
    meter().add(flops);
}

}  // namespace

Tensor sum_samples(const Tensor& sums, std::int64_t tokens) {
    const PhaseScope phase("g_b");
    meter().add((tokens - 1) * sums.numel());
    return sum_tokens(sums.reshape({1, sums.size(0), sums.size(1)}));
}

Tensor project_tokens(const Subspace& p, const Tensor& x) {
    check(p, x);
    if (p.rank() > skinny_rows) return matmul(p.basis, x);
    Tensor x_hat({x.size(0), p.rank(), x.size(2)});  // (R,L)·(L,C) a sample
    project_tokens(x.size(0), x.size(1), x.size(2), x.data(), {{onto(p, x_hat)}});
    meter().add(flops(p, x));
    return x_hat;
}

ProjectedGradient project_tokens(const Subspace* p, const Subspace* q, const Tensor& g,
                                 bool with_sum) {
    ProjectedGradient result;
    if (p && q && p->rank() + q->rank() <= skinny_rows) {
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
        result.p = project_tokens(*p, g);
    }
    if (q) {
        const PhaseScope phase("g_x");
        result.q = project_tokens(*q, g);
    }
    return result;
}

Tensor expand_tokens(const Subspace& q, const Tensor& g_hat) {
    require(g_hat.ndim() == 3 && g_hat.size(1) == q.rank(),
            "[{}] expected a projection (samples, {}, channels), got {}", current_layer(), q.rank(),
            shown(g_hat.shape()));
    const std::int64_t batch = g_hat.size(0), length = q.dim(), channels = g_hat.size(2);
    if (q.rank() > skinny_rows) return matmul(q.basis, g_hat, Op::transpose, Op::none);
    Tensor g({batch, length, channels});  // (L,R)·(R,C) a sample
    expand_tokens(batch, q.rank(), length, channels, q.basis.data(), g_hat.data(), g.data());
    meter().add(2 * q.rank() * g.numel());
    return g;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
