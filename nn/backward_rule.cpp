#include "nn/backward_rule.h"

#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// `given` must have one of two shapes: that of a matrix, or that which the layer has.
void check(const Tensor& given, const char* what, const Shape& shape, const Shape& layers_own,
           const LinearCall& call, const BackwardRule& rule) {
    if (given.defined() && (given.shape() == shape || given.shape() == layers_own)) return;
    std::string expected = to_string(shape);
    if (layers_own != shape) expected += " or " + to_string(layers_own);
    fail("[{}] the rule '{}' must give {} of shape {}, got {}", call.layer, rule.name(), what,
         expected, shown(given));
}

}  // namespace

const TokenLayout& LinearCall::grid() const {
    const auto& [rows, columns, extra, padding] = layout;
    require(
        rows > 0 && columns > 0,
        "[{}] the method treats tokens as an image, but the model states no grid of them. Hint: "
        "TokenScope",
        layer);
    require(rows * columns + extra == op->tokens(),
            "[{}] the model states a grid of {}x{} tokens and {} before it, got {} tokens", layer,
            rows, columns, extra, op->tokens());
    return layout;
}

Stream LinearCall::stream(const std::string& purpose, std::int64_t sample) const {
    return {seed, purpose + " " + layer, step, static_cast<std::uint32_t>(first_sample + sample)};
}

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

Tensor forward_by(const BackwardRule& rule, const Tensor& x, Saved& saved, const LinearCall& call) {
    const LinearOperator& op = *call.op;
    const std::int64_t channels = call.w.size(0);
    Tensor y = rule.forward({call.op, x}, saved, call);
    const Shape own = op.y_shape(channels);
    check(y, "y", {op.batch(), op.tokens(), channels}, own, call, rule);
    if (y.shape() != own) y = op.y_of(y);
    return y.unique() ? y : y.clone();
}

LinearGrads backward_by(const BackwardRule& rule, const Tensor& gy, const Saved& saved,
                        const LinearCall& call) {
    const LinearOperator& op = *call.op;
    const auto& [gx, gw, gb] = call.needs;
    LinearGrads grads = rule.backward({call.op, gy}, saved, call);
    if (!gx) grads.gx = {};
    if (!gw) grads.gw = {};
    if (!gb) grads.gb = {};
    if (gx) {
        check(grads.gx, "g_x", {op.batch(), op.tokens(), call.w.size(1)}, op.x_shape(), call, rule);
        if (grads.gx.shape() != op.x_shape()) grads.gx = op.x_of(grads.gx);
    }
    const Shape bias{call.w.size(0)};
    if (gw && !(grads.gw.defined() && grads.gw.basis))
        check(grads.gw.value, "g_w", call.w.shape(), call.w.shape(), call, rule);
    if (grads.gb.defined()) check(grads.gb, "g_b", bias, bias, call, rule);
    if (gb && !grads.gb.defined()) {
        const PhaseScope phase("g_b");
        grads.gb = op.gb(gy);
    }
    return grads;
}

Tensor BackwardRule::forward(const LinearInput& x, Saved& saved, const LinearCall& call) const {
    save(x, saved, call);
    const PhaseScope phase("forward");
    return call.op->forward(x.held(), call.w);
}

void ExactRule::save(const LinearInput& x, Saved& saved, const LinearCall& call) const {
    if (call.needs.gw) saved.keep(Keep::activation, "x", x.held());
}

LinearGrads ExactRule::backward(const LinearGradient& gy, const Saved& saved,
                                const LinearCall& call) const {
    LinearGrads grads;
    if (call.needs.gw) {
        const PhaseScope phase("g_w");
        grads.gw = call.op->gw(gy.value(), saved.tensor("x"));
    }
    if (call.needs.gx) {
        const PhaseScope phase("g_x");
        grads.gx = call.op->gx(gy.value(), call.w);
    }
    return grads;
}

const std::shared_ptr<const BackwardRule>& ExactRule::instance() {
    static const std::shared_ptr<const BackwardRule> rule = std::make_shared<const ExactRule>();
    return rule;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
