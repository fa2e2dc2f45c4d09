#include "nn/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "tensor/ops.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
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
        require(x.ndim() > 0 && x.size(-1) == n, "[{}] expected last dimension {}, got {}", name_,
                n, to_string(x.shape()));
        const std::int64_t rows = x.numel() / n;
        Tensor y(x.shape()), stats({rows, 2});
        const real *gamma = in[1].data(), *beta = in[2].data();
#pragma omp parallel for schedule(static) if (x.numel() > parallel_threshold)
        for (std::int64_t r = 0; r < rows; ++r) {
            const real* from = x.data() + r * n;
            real* to = y.data() + r * n;
            real total = 0, squares = 0;
#pragma omp simd reduction(+ : total)
            for (std::int64_t i = 0; i < n; ++i) total += from[i];
            const real mean = total / static_cast<real>(n);
#pragma omp simd reduction(+ : squares)
            for (std::int64_t i = 0; i < n; ++i) squares += (from[i] - mean) * (from[i] - mean);
            const real rstd = 1 / std::sqrt(squares / static_cast<real>(n) + eps_);
            for (std::int64_t i = 0; i < n; ++i)
                to[i] = (from[i] - mean) * rstd * gamma[i] + beta[i];
            stats.data()[2 * r] = mean;
            stats.data()[2 * r + 1] = rstd;
        }
        meter().add(8 * x.numel() + 5 * rows);
        if (saved.needs(0) || saved.needs(1)) {
            saved.keep(Keep::activation, "x", x);
            saved.keep(Keep::exact, "stats", stats);
        }
        if (saved.needs(0)) saved.keep(Keep::exact, "gamma", in[1]);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        std::vector<Grad> grads(3);
        if (saved.needs(0) || saved.needs(1)) {
            const Tensor x = saved.tensor("x"), stats = saved.tensor("stats");
            if (saved.needs(0)) grads[0] = input_gradient(gy, x, stats, saved.tensor("gamma"));
            if (saved.needs(1)) grads[1] = weight_gradient(gy, x, stats);
        }
        if (saved.needs(2)) grads[2] = sum_rows(gy);
        return grads;
    }

  private:
    static Tensor input_gradient(const Tensor& gy, const Tensor& x, const Tensor& stats,
                                 const Tensor& weight) {
        Tensor gx(gy.shape());
        const std::int64_t n = gy.size(-1), rows = gy.numel() / n;
        const real* gamma = weight.data();
#pragma omp parallel for schedule(static) if (gy.numel() > parallel_threshold)
        for (std::int64_t r = 0; r < rows; ++r) {
            const real *v = x.data() + r * n, *g = gy.data() + r * n;
            real* to = gx.data() + r * n;
            const real mean = stats.data()[2 * r], rstd = stats.data()[2 * r + 1];
            real sum_h = 0, sum_hx = 0;
#pragma omp simd reduction(+ : sum_h, sum_hx)
            for (std::int64_t i = 0; i < n; ++i) {
                const real h = g[i] * gamma[i];
                sum_h += h;
                sum_hx += h * (v[i] - mean) * rstd;
            }
            const real mean_h = sum_h / static_cast<real>(n);
            const real mean_hx = sum_hx / static_cast<real>(n);
            for (std::int64_t i = 0; i < n; ++i)
                to[i] = rstd * (g[i] * gamma[i] - mean_h - (v[i] - mean) * rstd * mean_hx);
        }
        meter().add(13 * gy.numel() + 2 * rows);
        return gx;
    }

    // Σ over rows in blocks of a fixed size: the result does not depend on the number of threads.
    static Tensor weight_gradient(const Tensor& gy, const Tensor& x, const Tensor& stats) {
        const std::int64_t n = gy.size(-1), rows = gy.numel() / n;
        constexpr std::int64_t block = 128;
        const std::int64_t blocks = (rows + block - 1) / block;
        Tensor partial = Tensor::zeros({blocks, n});
#pragma omp parallel for schedule(static) if (gy.numel() > parallel_threshold)
        for (std::int64_t b = 0; b < blocks; ++b) {
            real* to = partial.data() + b * n;
            for (std::int64_t r = b * block; r < std::min((b + 1) * block, rows); ++r) {
                const real *v = x.data() + r * n, *g = gy.data() + r * n;
                const real mean = stats.data()[2 * r], rstd = stats.data()[2 * r + 1];
                for (std::int64_t i = 0; i < n; ++i) to[i] += g[i] * (v[i] - mean) * rstd;
            }
        }
        meter().add(4 * gy.numel());
        return sum_rows(partial);
    }

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

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
