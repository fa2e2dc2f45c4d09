#include "nn/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/layer_norm.h"
#include "tensor/meter.h"
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
//
// Where all that is kept is packed, x is one more value. The tape may say to keep y, which the
// linear layers that read it keep too: x̂ = (y - β) / γ. If a γ is too small for that, x it is.
class LayerNormFunction final : public Function {
  public:
    LayerNormFunction(std::string name, double eps, bool keeps_output)
        : name_(std::move(name)), eps_(static_cast<real>(eps)), keeps_output_(keeps_output) {}
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
        const bool keeps = saved.needs(0) || saved.needs(1);
        const bool keeps_y = keeps && keeps_output_ && invertible(in[1]);
        if (keeps) {
            saved.keep(Keep::activation, keeps_y ? "y" : "x", keeps_y ? y : x);
            saved.keep(Keep::exact, "stats", stats);
        }
        if (saved.needs(0) || keeps_y) saved.keep(Keep::exact, "gamma", in[1]);
        if (keeps_y) saved.keep(Keep::exact, "beta", in[2]);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const bool for_x = saved.needs(0), for_weights = saved.needs(1) || saved.needs(2);
        if (!saved.has("stats")) return {Grad(), Grad(), Grad(sum_rows(gy))};  // only β is trained

        const Tensor stats = saved.tensor("stats");
        const Tensor x = saved.has("x") ? saved.tensor("x") : x_of_y(saved, stats);
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
    /// Whether y says what x was: no channel is scaled to little. y may be kept in few bits, and
    /// their error is divided by γ.
    static bool invertible(const Tensor& gamma) {
        real least = std::abs(gamma.data()[0]), largest = least;
        for (const real value : gamma.values()) {
            least = std::min(least, std::abs(value));
            largest = std::max(largest, std::abs(value));
        }
        return least > real(0.1) * largest;
    }
    /// x = μ + x̂ / r,  x̂ = (y - β) / γ
    static Tensor x_of_y(const Saved& saved, const Tensor& stats) {
        const Tensor y = saved.tensor("y"), gamma = saved.tensor("gamma"),
                     beta = saved.tensor("beta");
        const std::int64_t n = gamma.numel(), rows = y.numel() / n;
        Tensor x(y.shape());
#pragma omp parallel for schedule(static) if (y.numel() > parallel_threshold)
        for (std::int64_t row = 0; row < rows; ++row) {
            const real mu = stats.data()[2 * row], inverse = 1 / stats.data()[2 * row + 1];
            for (std::int64_t c = 0; c < n; ++c)
                x.data()[row * n + c] =
                    mu + (y.data()[row * n + c] - beta.data()[c]) / gamma.data()[c] * inverse;
        }
        meter().add(4 * y.numel() + rows);
        return x;
    }

    std::string name_;
    real eps_;
    bool keeps_output_;
};

}  // namespace

LayerNorm::LayerNorm(std::int64_t features, double eps) : eps_(eps) {
    require(features > 0, "[layer_norm] features must be positive, got {}", features);
    weight_ = Parameter(Tensor::full({features}, 1));
    bias_ = Parameter(Tensor::zeros({features}));
}

Var LayerNorm::forward(const Var& x) {
    Tape& tape = x.tape();
    return tape.apply(
        std::make_shared<LayerNormFunction>(path(), eps_, tape.options().norm_keeps_output),
        {x, tape.parameter(weight_), tape.parameter(bias_)});
}

void LayerNorm::visit(Visitor& visitor) {
    visitor.parameter("weight", weight_);
    visitor.parameter("bias", bias_);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
