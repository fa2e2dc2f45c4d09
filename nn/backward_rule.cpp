#include "nn/backward_rule.h"

#include "tensor/ops.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
namespace {

void check(const Tensor& given, const char* what, const Shape& expected, const std::string& layer,
           const BackwardRule& rule) {
    require(given.defined() && given.shape() == expected,
            "[{}] the rule '{}' must give {} of shape {}, got {}", layer, rule.name(), what,
            shown(expected), shown(given));
}

}  // namespace

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

Tensor forward_by(const BackwardRule& rule, const std::string& layer, const LinearInput& x,
                  const Tensor& w, Saved& saved, Needs needs) {
    Tensor y = rule.forward(x, w, saved, needs);
    check(y, "y", {x.matrix().size(0), x.matrix().size(1), w.size(0)}, layer, rule);
    return y.unique() ? y : y.clone();
}

LinearGrads backward_by(const BackwardRule& rule, const std::string& layer, const Tensor& gy,
                        const Tensor& w, const Saved& saved, Needs needs) {
    LinearGrads grads = rule.backward(gy, w, saved, needs);
    if (!needs.gx) grads.gx = {};
    if (!needs.gw) grads.gw = {};
    if (needs.gx) check(grads.gx, "g_x", {gy.size(0), gy.size(1), w.size(1)}, layer, rule);
    if (needs.gw && !(grads.gw.defined() && grads.gw.basis))
        check(grads.gw.value, "g_w", w.shape(), layer, rule);
    if (needs.gb && grads.gb.defined()) check(grads.gb, "g_b", {w.size(0)}, layer, rule);
    return grads;
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
