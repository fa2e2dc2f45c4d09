#include "nn/layer_norm.h"

#include "tensor/kernels/layer_norm.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// y = γ ∘ x̂ + β,  x̂ = (x - μ) r,  r = 1 / √(σ² + eps), each row by itself
//   g_x = r (h - mean(h) - x̂ mean(h ∘ x̂)) with h = g ∘ γ      g_γ = Σ g ∘ x̂      g_β = Σ g
//
// Of x and x̂ only one is kept. It is x: in a transformer x is the residual stream, which lives
// during the forward pass anyway, so keeping it takes no second buffer, and layers that keep the
// same x share it. μ and r are two numbers a row.
class LayerNormFunction final : public Function {
  public:
    LayerNormFunction(std::string name, double eps)
        : name_(std::move(name)), eps_(static_cast<real>(eps)) {}
    std::string name() const override { return name_; }

    // inputs: x (..., C), γ (C,), β (C,)
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        const Tensor& x = in[0];
        const std::int64_t n = in[1].numel();
        require_shape(name_, "a bias", in[2], {n});
        require(n > 0 && x.ndim() > 0 && x.size(-1) == n, "[{}] expected last dimension {}, got {}",
                name_, n, shown(x.shape()));
        const std::int64_t rows = x.numel() / n;
        Tensor y(x.shape()), stats({rows, 2});
        layer_norm_forward(rows, n, x.data(), in[1].data(), in[2].data(), eps_, y.data(),
                           stats.data());
        meter().add(8 * x.numel() + 5 * rows);
        if (saved.needs(0) || saved.needs(1)) {
            saved.keep(Keep::activation, "x", x);
            saved.keep(Keep::exact, "stats", stats);
        }
        if (saved.needs(0)) saved.keep(Keep::exact, "gamma", in[1]);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const bool for_x = saved.needs(0), for_weights = saved.needs(1) || saved.needs(2);
        if (!saved.has("x")) return {Grad(), Grad(), Grad(sum_rows(gy))};  // only β is trained

        const Tensor x = saved.tensor("x"), stats = saved.tensor("stats");
        const std::int64_t n = gy.size(-1), rows = gy.numel() / n;
        const Tensor gamma = for_x ? saved.tensor("gamma") : Tensor();
        Tensor gx = for_x ? Tensor(gy.shape()) : Tensor();
        if (!for_weights) {
            layer_norm_gx(rows, n, gy.data(), x.data(), gamma.data(), stats.data(), gx.data());
            meter().add(13 * gy.numel() + 2 * rows);
            return {gx, Grad(), Grad()};
        }
        Tensor g_gamma({n}), g_beta({n});
        layer_norm_backward(rows, n, gy.data(), x.data(), gamma.data(), stats.data(), gx.data(),
                            g_gamma.data(), g_beta.data());
        meter().add((for_x ? 18 : 5) * gy.numel() + (for_x ? 2 * rows : 0));
        return {gx, g_gamma, g_beta};
    }

  private:
    std::string name_;
    real eps_;
};

}  // namespace

LayerNorm::LayerNorm(std::int64_t features, double eps) : eps_(eps) {
    require(features > 0, "[layer_norm] features must be positive, got {}", features);
    weight_ = Parameter(Tensor::full({features}, 1));
    bias_ = Parameter(Tensor::zeros({features}));
}

Var LayerNorm::forward(const Var& x) {
    Tape& tape = x.tape();
    return tape.apply(std::make_shared<LayerNormFunction>(path(), eps_),
                      {x, tape.parameter(weight_), tape.parameter(bias_)});
}

void LayerNorm::visit(Visitor& visitor) {
    visitor.parameter("weight", weight_);
    visitor.parameter("bias", bias_);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
