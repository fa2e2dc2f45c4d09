#include "instant/low_rank_rule.h"

#include "tensor/ops.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
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

void LowRankRule::save(const LinearInput& x, Saved& saved, Needs needs) const {
    if (!p_) return ExactRule::instance()->save(x, saved, needs);
    if (!needs.gw) return;
    // Made once for all layers that share P and x: Q, K and V keep one x̂.
    saved.keep_once("x", p_.get(), x.held(), [&] {
        const PhaseScope phase("compress");
        return std::make_shared<ProjectedInput>(project(*p_, x.matrix()), p_);
    });
}

LinearGrads LowRankRule::backward(const Tensor& gy, const Tensor& w, const Saved& saved,
                                  Needs needs) const {
    // On its channel side P is needed on the way back from g_w, not on g.
    const auto* kept = p_ && needs.gw ? &saved.as<ProjectedInput>("x") : nullptr;
    const bool p_on_g = kept && kept->p().side == Side::token;
    const Projector* q = needs.gx ? q_.get() : nullptr;
    const auto [p_g, q_g, sum] = project(p_on_g ? &kept->p() : nullptr, q, gy, needs.gb);

    LinearGrads grads;
    grads.gb = sum;
    if (needs.gw) grads.gw = kept ? gw(gy, p_g, *kept) : linear_gw(gy, saved.tensor("x"));
    if (needs.gx) grads.gx = q ? gx(q_g, w) : linear_gx(gy, w);
    return grads;
}

std::optional<Subspaces> LowRankRule::subspaces() const {
    Subspaces s;
    if (p_) s.p = p_->basis, s.p_on_tokens = p_->side == Side::token;
    if (q_) s.q = q_->basis, s.q_on_tokens = q_->side == Side::token;
    return s;
}

Tensor LowRankRule::gw(const Tensor& gy, const Tensor& p_g, const ProjectedInput& kept) const {
    const PhaseScope phase("g_w");
    if (kept.p().side == Side::token) return matmul_sum(p_g, kept.x_hat());  // (Cy,B·R)·(B·R,Cx)
    return matmul(matmul_sum(gy, kept.x_hat()), kept.p().basis);  // (Cy,B·L)·(B·L,R), then ·(R,Cx)
}

Tensor LowRankRule::gx(const Tensor& q_g, const Tensor& w) const {
    const PhaseScope phase("g_x");
    if (q_->side == Side::token)
        return expand(*q_, matmul(q_g, w));    // (B·R,Cy)·(Cy,Cx), then (L,R)·(R,Cx) a sample
    return matmul(q_g, matmul(q_->basis, w));  // (B·L,R)·((R,Cy)·(Cy,Cx))
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
