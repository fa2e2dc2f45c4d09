#include "nn/linear.h"

#include "nn/init.h"
#include "tensor/ops.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
namespace {

// y = x Wᵀ + b
//   g_w = Σ_b g_bᵀ x_b      g_x = g W      g_b = Σ g over samples and tokens
// The two products belong to the rule, which also decides what is kept of x.
class LinearFunction final : public Function {
  public:
    LinearFunction(std::string name, std::shared_ptr<const BackwardRule> rule)
        : name_(std::move(name)), rule_(std::move(rule)) {}

    std::string name() const override { return name_; }

    // inputs: x (..., Cx), W (Cy, Cx) and, if there is one, b (Cy,)
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        const Tensor &x = in[0], &w = in[1];
        require(w.ndim() == 2, "[{}] expected a weight (out_features, in_features), got {}", name_,
                shown(w.shape()));
        require(x.ndim() >= 2 && x.size(-1) == w.size(1),
                "[{}] expected last dimension {}, got {}. Hint: x is (batch, ..., in_features)",
                name_, w.size(1), shown(x.shape()));
        Shape shape = x.shape();
        shape.back() = w.size(0);

        const LinearInput tokens(x.reshape(token_shape(x)));  // (B, L, Cx)
        saved.keep(Keep::exact, "w", w);
        Tensor y = forward_by(*rule_, name_, tokens, w, saved, needed(saved));
        if (in.size() == 3) {
            const PhaseScope phase("bias");
            add_row_in_place(y, in[2]);
        }
        return y.reshape(shape);
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Needs needs = needed(saved);
        const Tensor g = gy.reshape(token_shape(gy));  // (B, L, Cy)
        auto [gx, gw, gb] = backward_by(*rule_, name_, g, saved.tensor("w"), saved, needs);
        if (gx.defined()) {
            Shape shape = gy.shape();
            shape.back() = gx.size(-1);
            gx = gx.reshape(shape);
        }
        std::vector<Grad> grads{gx, gw};
        if (needs.gb && !gb.defined()) {
            const PhaseScope phase("g_b");
            gb = sum_tokens(g);
        }
        if (saved.inputs() == 3) grads.emplace_back(gb);
        return grads;
    }

  private:
    static Needs needed(const Saved& saved) {
        return {saved.needs(0), saved.needs(1), saved.inputs() == 3 && saved.needs(2)};
    }
    static Shape token_shape(const Tensor& x) {
        const std::int64_t tokens = numel({x.shape().begin() + 1, x.shape().end() - 1});
        return {x.size(0), tokens, x.size(-1)};
    }

    std::string name_;
    std::shared_ptr<const BackwardRule> rule_;
};

}  // namespace

Linear::Linear(std::int64_t in_features, std::int64_t out_features, Stream& stream, bool bias)
    : weight_(kaiming_uniform({out_features, in_features}, in_features, stream)) {
    if (bias) bias_ = Parameter(kaiming_uniform({out_features}, in_features, stream));
}

Var Linear::forward(const Var& x) {
    Tape& tape = x.tape();
    std::vector<Var> inputs{x, tape.parameter(weight_)};
    if (bias()) inputs.push_back(tape.parameter(bias_));
    return tape.apply(std::make_shared<LinearFunction>(path(), rule_on(tape)), inputs);
}

void Linear::visit(Visitor& visitor) {
    visitor.parameter("weight", weight_);
    if (bias()) visitor.parameter("bias", bias_);
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
