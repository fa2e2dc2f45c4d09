#include "instant/low_rank_rule.h"

#include "tensor/ops.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
namespace {

/// x̂ together with the P that made it: recalibrating between forward and backward is safe.
class ProjectedInput final : public Packed {
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

}  // namespace

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
    LinearGrads grads;
    if (needs.gw) grads.gw = p_ ? gw(gy, saved) : linear_gw(gy, saved.tensor("x"));
    if (needs.gx) grads.gx = q_ ? gx(gy, w) : linear_gx(gy, w);
    return grads;
}

Tensor LowRankRule::gw(const Tensor& gy, const Saved& saved) const {
    const PhaseScope phase("g_w");
    const auto& kept = saved.as<ProjectedInput>("x");
    const Tensor& x_hat = kept.x_hat();
    if (kept.p().side == Side::channel)
        return matmul(matmul_sum(gy, x_hat), kept.p().basis);  // (Cy,B·L)·(B·L,R), then ·(R,Cx)
    const Tensor g_hat = project(kept.p(), gy);                // (R,L)·(L,Cy) a sample
    return matmul_sum(g_hat, x_hat);                           // (Cy,B·R)·(B·R,Cx)
}

Tensor LowRankRule::gx(const Tensor& gy, const Tensor& w) const {
    const PhaseScope phase("g_x");
    const Tensor& q = q_->basis;
    const Tensor g_hat = project(*q_, gy);
    if (q_->side == Side::channel) return matmul(g_hat, matmul(q, w));  // (B·L,R)·((R,Cy)·(Cy,Cx))
    const Tensor gx_hat = matmul(g_hat, w);                             // (B·R,Cy)·(Cy,Cx)
    return matmul(q, gx_hat, Op::transpose, Op::none);                  // (L,R)·(R,Cx) a sample
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
