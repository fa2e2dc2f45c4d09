#include "optim/adam.h"

#include <cmath>

#include "optim/state.h"
#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

Adam::Adam(Module& model, const OptimizerOptions& options, bool decoupled)
    : Optimizer(model, options.lr),
      options_(options),
      decoupled_(decoupled),
      exp_avg_(entries_.size()),
      exp_avg_sq_(entries_.size()) {}

// Adam: g ← g + λ w        AdamW: w ← (1 - lr λ) w
// m ← β₁ m + (1 - β₁) g        v ← β₂ v + (1 - β₂) g²
// w ← w - lr / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)
void Adam::step() {
    const PhaseScope phase("optimizer");
    check_gradients();
    ++steps_;
    const double t = static_cast<double>(steps_);
    // 1 - β is taken in double: in float, 1 - 0.999f is off by 5e-5 of itself.
    const real beta1 = static_cast<real>(options_.beta1);
    const real rest1 = static_cast<real>(1 - options_.beta1);
    const real beta2 = static_cast<real>(options_.beta2);
    const real rest2 = static_cast<real>(1 - options_.beta2);
    const real rate = static_cast<real>(lr_ / (1 - std::pow(options_.beta1, t)));
    const real scale = static_cast<real>(1 / std::sqrt(1 - std::pow(options_.beta2, t)));
    const real epsilon = static_cast<real>(options_.epsilon);
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        const std::string& name = entries_[i].name;
        Parameter& parameter = *entries_[i].parameter;
        if (!is_updated(parameter)) continue;
        const double lambda = options_.decay_of(parameter);
        const real decay = static_cast<real>(decoupled_ ? 0 : lambda);
        const real shrink = static_cast<real>(decoupled_ ? 1 - lr_ * lambda : 1);
        const Tensor gradient = parameter.dense_grad(name);
        const std::int64_t n = gradient.numel();
        const real* g = gradient.data();
        real* w = parameter.value.data();
        real* m = ensure_state(exp_avg_[i], parameter, name).data();
        real* v = ensure_state(exp_avg_sq_[i], parameter, name).data();
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
}

void Adam::visit_state(const std::function<void(const std::string&, Tensor&)>& f) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        const auto& [name, parameter] = entries_[i];
        if (!parameter->requires_grad) continue;
        f("exp_avg." + name, ensure_state(exp_avg_[i], *parameter, name));
        f("exp_avg_sq." + name, ensure_state(exp_avg_sq_[i], *parameter, name));
    }
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
