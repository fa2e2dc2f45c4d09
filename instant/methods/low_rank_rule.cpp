#include "instant/methods/low_rank_rule.h"

#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
/// x̂ together with the P that made it: recalibrating between forward and backward is safe.
class LowRankRule::ProjectedInput final : public Packed {
  public:
    ProjectedInput(Tensor x_hat, std::shared_ptr<const Projector> p)
        : x_hat_(std::move(x_hat)), p_(std::move(p)) {}
    const Tensor& x_hat() const { return x_hat_; }
    const Projector& p() const { return *p_; }
    std::vector<std::shared_ptr<Storage>> held() const override { return {x_hat_.storage()}; }

  private:
    Tensor x_hat_;
    std::shared_ptr<const Projector> p_;
};

std::string LowRankRule::name() const {
    return p_ && q_ ? "instant" : p_ ? "compress-x" : q_ ? "compress-gy" : "vanilla";
}

void LowRankRule::save(const LinearInput& x, Saved& saved, const LinearCall& call) const {
    if (!p_) return ExactRule::instance()->save(x, saved, call);
    if (!call.needs.gw) return;
    // Made once for all layers that share P and x: Q, K and V keep one x̂.
    saved.keep_once("x", p_.get(), x.held(), [&] {
        const PhaseScope phase("compress");
        require_fits(*p_, call.op->tokens(), call.w.size(1));
        Tensor x_hat = p_->side == Side::token ? call.op->project(*p_, x.held())
                                               : call.op->forward(x.held(), p_->basis);
        return std::make_shared<ProjectedInput>(std::move(x_hat), p_);
    });
}

LinearGrads LowRankRule::backward(const LinearGradient& gy, const Saved& saved,
                                  const LinearCall& call) const {
    const LinearOperator& op = *call.op;
    const Tensor& g = gy.value();
    const auto* kept = p_ && call.needs.gw ? &saved.as<ProjectedInput>("x") : nullptr;
    const Projector* q = call.needs.gx ? q_.get() : nullptr;
    if (q) require_fits(*q, op.tokens(), call.w.size(0));
    // One reading of g for all that is projected along the tokens. On its channel side P is needed
    // on the way back from g_w, not on g.
    const auto on_tokens = [](const Projector* s) {
        return s && s->side == Side::token ? s : nullptr;
    };
    const auto [p_g, q_g, sum] =
        op.project(on_tokens(kept ? &kept->p() : nullptr), on_tokens(q), g, call.needs.gb);

    LinearGrads grads;
    grads.gb = sum;
    if (call.needs.gw) {
        const PhaseScope phase("g_w");
        if (!kept)
            grads.gw = op.gw(g, saved.tensor("x"));
        else if (kept->p().side == Side::token)
            grads.gw = matmul_sum(p_g, kept->x_hat());  // (Cy,B·R)·(B·R,Cx)
        else
            grads.gw = matmul(op.pair(g, kept->x_hat()), kept->p().basis);  // (Cy,R)·(R,Cx)
    }
    if (call.needs.gx) {
        const PhaseScope phase("g_x");
        if (!q)
            grads.gx = op.gx(g, call.w);
        else if (q->side == Side::token)
            grads.gx = op.expand(*q, q_g, call.w);
        else
            grads.gx = op.gx(op.mix(g, q->basis), matmul(q->basis, call.w));  // (g Qᵀ)(Q W)
    }
    return grads;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
