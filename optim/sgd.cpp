#include "optim/sgd.h"

#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

Sgd::Sgd(Module& model, const OptimizerOptions& options)
    : Optimizer(model, options.lr,
                options.momentum == 0 ? std::vector<StateSlot>{}
                                      : std::vector<StateSlot>{{"momentum", 1}}),
      options_(options) {}

// g ← g + λ w
// m ← μ m + g        u = m, or g + μ m for Nesterov; without momentum u = g
// w ← w - lr u
void Sgd::step() {
    const PhaseScope phase("optimizer");
    begin_step();
    for (const Entry& entry : entries_) {
        if (!is_updated(*entry.parameter)) continue;
        if (entry.parameter->grad.basis)
            update_compressed(entry);
        else
            update_dense(entry);
    }
}

void Sgd::update_dense(const Entry& entry) const {
    Parameter& parameter = *entry.parameter;
    const real lr = static_cast<real>(lr_);
    const real mu = static_cast<real>(options_.momentum);
    const bool nesterov = options_.nesterov;
    const real decay = static_cast<real>(options_.decay_of(parameter));
    const Tensor gradient = parameter.grad.value;
    const std::int64_t n = gradient.numel();
    const real* g = gradient.data();
    real* w = parameter.value.data();
    parameter.value.changed();
    if (mu == 0) {
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
        for (std::int64_t k = 0; k < n; ++k) w[k] -= lr * (g[k] + decay * w[k]);
        meter().add(4 * n);
        return;
    }
    Tensor momentum = entry.state.values[0];
    real* m = momentum.data();
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t k = 0; k < n; ++k) {
        const real gk = g[k] + decay * w[k];
        m[k] = mu * m[k] + gk;
        w[k] -= lr * (nesterov ? gk + mu * m[k] : m[k]);
    }
    meter().add((nesterov ? 8 : 6) * n);
}

// The same u in the gradient's space, and  w ← (1 - lr λ) w - lr · α · expand(u)
void Sgd::update_compressed(const Entry& entry) const {
    const real mu = static_cast<real>(options_.momentum);
    const Tensor gradient = entry.parameter->grad.value;
    Tensor update = gradient;
    if (mu != 0) {
        Tensor momentum = entry.state.values[0];
        scale_in_place(momentum, mu);
        add_in_place(momentum, gradient);
        update = momentum;
    }
    if (options_.nesterov)
        update = map(gradient, update, 2, [mu](real g, real m) { return g + mu * m; });
    descend(entry, update, lr_, 1 - lr_ * options_.decay_of(*entry.parameter));
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
