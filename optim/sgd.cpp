#include "optim/sgd.h"

#include "optim/state.h"
#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

Sgd::Sgd(Module& model, const OptimizerOptions& options)
    : Optimizer(model, options.lr), options_(options), momentum_(entries_.size()) {}

// g ← g + λ w
// m ← μ m + g        u = m, or g + μ m for Nesterov; without momentum u = g
// w ← w - lr u
void Sgd::step() {
    const PhaseScope phase("optimizer");
    check_gradients();
    ++steps_;
    const real lr = static_cast<real>(lr_);
    const real mu = static_cast<real>(options_.momentum);
    const bool nesterov = options_.nesterov;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        const std::string& name = entries_[i].name;
        Parameter& parameter = *entries_[i].parameter;
        if (!is_updated(parameter)) continue;
        const real decay = static_cast<real>(options_.decay_of(parameter));
        const Tensor gradient = parameter.dense_grad(name);
        const std::int64_t n = gradient.numel();
        const real* g = gradient.data();
        real* w = parameter.value.data();
        parameter.value.changed();
        if (mu == 0) {
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
            for (std::int64_t k = 0; k < n; ++k) w[k] -= lr * (g[k] + decay * w[k]);
            meter().add(4 * n);
            continue;
        }
        real* m = ensure_state(momentum_[i], parameter, name).data();
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
        for (std::int64_t k = 0; k < n; ++k) {
            const real gk = g[k] + decay * w[k];
            m[k] = mu * m[k] + gk;
            w[k] -= lr * (nesterov ? gk + mu * m[k] : m[k]);
        }
        meter().add((nesterov ? 8 : 6) * n);
    }
}

void Sgd::visit_state(const std::function<void(const std::string&, Tensor&)>& f) {
    if (options_.momentum == 0) return;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        const auto& [name, parameter] = entries_[i];
        if (parameter->requires_grad)
            f("momentum." + name, ensure_state(momentum_[i], *parameter, name));
    }
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
