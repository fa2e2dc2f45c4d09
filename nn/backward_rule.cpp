#include "nn/backward_rule.h"

#include "tensor/ops.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

LinearInput::LinearInput(Tensor held, Unfold unfold)
    : held_(std::move(held)),
      unfold_(std::move(unfold)),
      matrix_(unfold_ ? unfold_(held_) : held_) {}

Tensor linear_forward(const Tensor& x, const Tensor& w) {
    const PhaseScope phase("forward");
    return matmul(x, w, Op::none, Op::transpose);  // y = x Wᵀ      (B·L,Cx)·(Cx,Cy)
}

Tensor linear_gw(const Tensor& gy, const Tensor& x) {
    const PhaseScope phase("g_w");
    return matmul_sum(gy, x);  // g_w = Σ_b g_bᵀ x_b      (Cy,B·L)·(B·L,Cx)
}

Tensor linear_gx(const Tensor& gy, const Tensor& w) {
    const PhaseScope phase("g_x");
    return matmul(gy, w);  // g_x = g W      (B·L,Cy)·(Cy,Cx)
}

Tensor BackwardRule::forward(const LinearInput& x, const Tensor& w, Saved& saved,
                             Needs needs) const {
    save(x, saved, needs);
    return linear_forward(x.matrix(), w);
}

void ExactRule::save(const LinearInput& x, Saved& saved, Needs needs) const {
    if (needs.gw) saved.keep(Keep::activation, "x", x.held(), x.unfold());
}

LinearGrads ExactRule::backward(const Tensor& gy, const Tensor& w, const Saved& saved,
                                Needs needs) const {
    LinearGrads grads;
    if (needs.gw) grads.gw = linear_gw(gy, saved.tensor("x"));
    if (needs.gx) grads.gx = linear_gx(gy, w);
    return grads;
}

const std::shared_ptr<const BackwardRule>& ExactRule::instance() {
    static const std::shared_ptr<const BackwardRule> rule = std::make_shared<const ExactRule>();
    return rule;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
