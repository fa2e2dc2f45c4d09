#include "optim/adam.h"

#include <cmath>

#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

Adam::Adam(Module& model, const OptimizerOptions& options, bool decoupled)
    : Optimizer(model, options.lr, {{"exp_avg", 1}, {"exp_avg_sq", 2}}),
      options_(options),
      decoupled_(decoupled) {}

Adam::Factors Adam::factors() const {
    const double t = static_cast<double>(steps_);
    // 1 - β is taken in double: in float, 1 - 0.999f is off by 5e-5 of itself.
    return {.beta1 = static_cast<real>(options_.beta1),
            .rest1 = static_cast<real>(1 - options_.beta1),
            .beta2 = static_cast<real>(options_.beta2),
            .rest2 = static_cast<real>(1 - options_.beta2),
            .scale = static_cast<real>(1 / std::sqrt(1 - std::pow(options_.beta2, t))),
            .epsilon = static_cast<real>(options_.epsilon),
            .rate = lr_ / (1 - std::pow(options_.beta1, t))};
}

// Adam: g ← g + λ w        AdamW: w ← (1 - lr λ) w
// m ← β₁ m + (1 - β₁) g        v ← β₂ v + (1 - β₂) g²
// w ← w - lr / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)
void Adam::step() {
    const PhaseScope phase("optimizer");
    begin_step();
    const Factors f = factors();
    for (const Entry& entry : entries_) {
        if (!is_updated(*entry.parameter)) continue;
        if (entry.parameter->grad.basis)
            update_compressed(entry, f);
        else
            update_dense(entry, f);
    }
}

void Adam::update_dense(const Entry& entry, const Factors& f) const {
    Parameter& parameter = *entry.parameter;
    const real beta1 = f.beta1, rest1 = f.rest1, beta2 = f.beta2, rest2 = f.rest2;
    const real scale = f.scale, epsilon = f.epsilon, rate = static_cast<real>(f.rate);
    const double lambda = options_.decay_of(parameter);
    const real decay = static_cast<real>(decoupled_ ? 0 : lambda);
    const real shrink = static_cast<real>(decoupled_ ? 1 - lr_ * lambda : 1);
    const Tensor gradient = parameter.grad.value;
    Tensor exp_avg = entry.state.values[0], exp_avg_sq = entry.state.values[1];
    const std::int64_t n = gradient.numel();
    const real* g = gradient.data();
    real* w = parameter.value.data();
    real *m = exp_avg.data(), *v = exp_avg_sq.data();
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t k = 0; k < n; ++k) {
        const real gk = g[k] + decay * w[k];
        m[k] = beta1 * m[k] + rest1 * gk;
        v[k] = beta2 * v[k] + rest2 * gk * gk;
        w[k] = shrink * w[k] - rate * m[k] / (std::sqrt(v[k]) * scale + epsilon);
    }
    parameter.value.changed();
    meter().add(16 * n);
}

// The same in the gradient's space, with u = m / (√v / √(1 - β₂ᵗ) + ε), and in both of Adam and
// AdamW  w ← (1 - lr λ) w - lr / (1 - β₁ᵗ) · α · expand(u)
void Adam::update_compressed(const Entry& entry, const Factors& f) const {
    const real beta1 = f.beta1, rest1 = f.rest1, beta2 = f.beta2, rest2 = f.rest2;
    const real scale = f.scale, epsilon = f.epsilon;
    const Tensor gradient = entry.parameter->grad.value;
    Tensor exp_avg = entry.state.values[0], exp_avg_sq = entry.state.values[1];
    Tensor update(gradient.shape());
    const std::int64_t n = gradient.numel();
    const real* g = gradient.data();
    real *m = exp_avg.data(), *v = exp_avg_sq.data(), *u = update.data();
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t k = 0; k < n; ++k) {
        m[k] = beta1 * m[k] + rest1 * g[k];
        v[k] = beta2 * v[k] + rest2 * g[k] * g[k];
        u[k] = m[k] / (std::sqrt(v[k]) * scale + epsilon);
    }
    meter().add(11 * n);
    descend(entry, update, f.rate, 1 - lr_ * options_.decay_of(*entry.parameter));
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
