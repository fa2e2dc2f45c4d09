#include "instant/methods/espace_rule.h"

#include "instant/methods/options.h"
#include "nn/token_projection.h"
#include "tensor/meter.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// The products of EspaceRule, summed up.
LinearCost espace_cost(const LinearShape& layer, const Compression& c, std::int64_t samples,
                       const Counted& counted) {
    if (!counted.gw) return exact_cost(layer, samples, counted);
    const Checked batch = samples, r = *c.rank_x;
    const Checked l = layer.tokens, cx = layer.in_channels, cy = layer.out_channels;
    const bool token = c.side_x == Side::token;
    const Checked px = counted.shares_x ? Checked(0) : 2 * r * l * cx;  // x̂
    const Checked w = 2 * r * cx * cy;  // a product with W: of each sample, or of P once a batch
    const Checked once = token ? batch * w : w;

    LinearCost cost;
    cost.forward = batch * (px + 2 * r * l * cy) + once;
    cost.g_w = batch * 2 * r * l * cy + once;
    if (counted.gx) cost.g_x = batch * (token ? 2 * r * l * cx : 2 * r * l * (cx + cy)) + once;
    if (counted.shares_x) return cost;
    cost.saved_bytes = batch * number_bytes * r * (token ? cx : l);
    cost.projector_bytes = number_bytes * r * (token ? l : cx);
    return cost;
}

}  // namespace

Tensor EspaceRule::forward(const LinearInput& x, Saved& saved, const LinearCall& call) const {
    const PhaseScope phase("forward", true);
    save(x, saved, call);
    const Tensor x_hat = call.needs.gw ? kept_x_hat(saved) : this->x_hat(*p_, x.held(), call);
    if (p_->side == Side::token)  // (B·R,Cx)·(Cx,Cy), then (L,R)·(R,Cy) a sample
        return expand_tokens(*p_, matmul(x_hat, call.w, Op::none, Op::transpose));
    return call.op->mix(x_hat, matmul(call.w, p_->basis, Op::none, Op::transpose));
}

LinearGrads EspaceRule::backward(const LinearGradient& gy, const Saved& saved,
                                 const LinearCall& call) const {
    const LinearOperator& op = *call.op;
    const auto& [needs_gx, needs_gw, needs_gb] = call.needs;
    const Tensor& g = gy.value();
    const Subspace* on_tokens = p_->side == Side::token ? p_.get() : nullptr;
    // One P g for both gradients; it counts as g_w where there is one.
    const auto [for_gw, for_gx, sum] =
        op.project(needs_gw ? on_tokens : nullptr, needs_gw ? nullptr : on_tokens, g, needs_gb);
    const Tensor& p_g = needs_gw ? for_gw : for_gx;

    LinearGrads grads;
    grads.gb = sum;
    if (needs_gw) {
        const PhaseScope phase("g_w");
        const Tensor& x_hat = kept_x_hat(saved);
        grads.gw = on_tokens ? matmul_sum(p_g, x_hat)                 // (Cy,B·R)·(B·R,Cx)
                             : matmul(op.pair(g, x_hat), p_->basis);  // (Cy,R)·(R,Cx)
    }
    if (needs_gx) {
        const PhaseScope phase("g_x");
        if (on_tokens)
            grads.gx = op.expand(*p_, p_g, call.w);
        else  // (g (W Pᵀ)) P
            grads.gx =
                op.gx(op.mix(g, matmul(p_->basis, call.w, Op::none, Op::transpose)), p_->basis);
    }
    return grads;
}

Truncation espace_truncation(const MethodOptions& options, std::int64_t dim) {
    return {.rank = chosen_rank(options, dim), .offset = Offset::none};
}

Compression espace_compression(const LinearShape& layer, const MethodOptions& options) {
    Compression c;
    c.side_x = chosen_side(options.side_of_x(), layer.tokens, layer.in_channels);
    c.rank_x = chosen_rank(options, c.side_x == Side::token ? layer.tokens : layer.in_channels);
    c.form = [c](const LinearShape& shape, std::int64_t batch, const Counted& counted) {
        return espace_cost(shape, c, batch, counted);
    };
    return c;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
