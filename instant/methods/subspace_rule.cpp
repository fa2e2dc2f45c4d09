#include "instant/methods/subspace_rule.h"

#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

const Subspace* on_tokens(const Subspace* s) { return s && s->side == Side::token ? s : nullptr; }

/// What is drawn counts with what it is drawn for.
template <class Draw>
auto counted(const char* name, const Draw& draw) {
    const PhaseScope phase(name);
    return draw();
}

}  // namespace

/// x̂, and the P that made it if that lives on: recalibrating between forward and backward is safe.
class SubspaceRule::ProjectedInput final : public Packed {
  public:
    ProjectedInput(Tensor x_hat, std::shared_ptr<const Subspace> p)
        : x_hat_(std::move(x_hat)), p_(std::move(p)) {}
    const Tensor& x_hat() const { return x_hat_; }
    const std::shared_ptr<const Subspace>& p() const { return p_; }
    std::vector<std::shared_ptr<Storage>> held() const override { return {x_hat_.storage()}; }

  private:
    Tensor x_hat_;
    std::shared_ptr<const Subspace> p_;
};

Tensor SubspaceRule::x_hat(const Subspace& p, const Tensor& x, const LinearCall& call) {
    require_fits(p, call.op->tokens(), call.w.size(1));
    return p.side == Side::token ? call.op->project(p, x) : call.op->forward(x, p.basis);
}

void SubspaceRule::save(const LinearInput& x, Saved& saved, const LinearCall& call) const {
    if (!call.needs.gw) return;
    const std::shared_ptr<const Subspace> held = drawn() ? nullptr : p(call);
    if (!drawn() && !held) return ExactRule::instance()->save(x, saved, call);
    // Made once for all layers that share P and x: Q, K and V keep one x̂, and draw P once.
    saved.keep_once("x_hat", packer(call), x.held(), [&] {
        const PhaseScope phase("compress");
        const Tensor seen = seen_of(x.held(), call);
        return std::make_shared<ProjectedInput>(x_hat(held ? *held : *p(call), seen, call), held);
    });
}

const Tensor& SubspaceRule::kept_x_hat(const Saved& saved) {
    return saved.as<ProjectedInput>("x_hat").x_hat();
}

SubspaceRule::KeptInput SubspaceRule::kept(const Saved& saved, const LinearCall& call) const {
    if (!saved.has("x_hat")) return {};
    const auto& input = saved.as<ProjectedInput>("x_hat");
    return {input.x_hat(), input.p() ? input.p() : counted("g_w", [&] { return p(call); })};
}

LinearGrads SubspaceRule::backward(const LinearGradient& gy, const Saved& saved,
                                   const LinearCall& call) const {
    const LinearOperator& op = *call.op;
    const Tensor& g = gy.value();
    const auto [x_hat, p] = call.needs.gw ? kept(saved, call) : KeptInput{};
    const auto q = call.needs.gx ? counted("g_x", [&] { return this->q(call); }) : nullptr;
    if (q) require_fits(*q, op.tokens(), call.w.size(0));
    // One reading of g for all that is projected along the tokens. On its channel side P is needed
    // on the way back from g_w, not on g.
    const auto [p_g, q_g, sum] =
        op.project(on_tokens(p ? &of_g(*p) : nullptr), on_tokens(q.get()), g, call.needs.gb);

    LinearGrads grads;
    grads.gb = sum;
    if (call.needs.gw) {
        const PhaseScope phase("g_w");
        if (!p)
            grads.gw = op.gw(g, saved.tensor("x"));
        else if (p->side == Side::token)
            grads.gw = matmul_sum(p_g, x_hat);  // (Cy,B·R)·(B·R,Cx)
        else
            grads.gw = matmul(op.pair(g, x_hat), p->basis);  // (Cy,R)·(R,Cx)
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
