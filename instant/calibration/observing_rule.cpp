#include "instant/calibration/observing_rule.h"

#include <algorithm>

#include "nn/padding.h"
#include "tensor/kernels/im2col.h"
#include "tensor/meter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

void LayerStatistics::add_x(const Tensor& x_matrix, const LinearCall& call) const {
    if (!x || !call.needs.gw) return;
    const PhaseScope phase("calibrate");
    x->add(skip_padding ? without_padding(x_matrix, call) : x_matrix);
    if (rows && x->side() == Side::channel) rows->leave_out();
}

void LayerStatistics::add_g(const Tensor& g_matrix, const LinearCall& call) const {
    const PhaseScope phase("calibrate");
    if (g && call.needs.gx) g->add(g_matrix);
    if (rows && call.needs.gw) rows->add(g_matrix);
}

Tensor ObservingRule::forward(const LinearInput& x, Saved& saved, const LinearCall& call) const {
    save(x, saved, call);
    return linear_forward(x.matrix(), call.w);
}

void ObservingRule::save(const LinearInput& x, Saved& saved, const LinearCall& call) const {
    if (statistics_.x && call.needs.gw) statistics_.add_x(x.matrix(), call);
    ExactRule::instance()->save(x, saved, call);
}

LinearGrads ObservingRule::backward(const LinearGradient& gy, const Saved& saved,
                                    const LinearCall& call) const {
    const Tensor& g = gy.matrix();
    statistics_.add_g(g, call);
    LinearGrads grads;
    if (call.needs.gw) grads.gw = linear_gw(g, call.op->x_matrix(saved.tensor("x")));
    if (call.needs.gx) grads.gx = linear_gx(g, call.w);
    return grads;
}

std::int64_t ObservedShare::of(std::uint64_t step) const {
    // The remainder is spread like the points of a line on a grid.
    const std::int64_t at = static_cast<std::int64_t>(step % static_cast<std::uint64_t>(steps)),
                       rest = samples % steps;
    return samples / steps + (at + 1) * rest / steps - at * rest / steps;
}

/// Of the part of a batch that a call sees.
std::int64_t WatchedRule::observed(const LinearCall& call) const {
    return std::clamp<std::int64_t>(share_.of(call.step) - call.first_sample, 0, call.op->batch());
}

void WatchedRule::observe(const LinearInput& x, const LinearCall& call) const {
    const std::int64_t count = observed(call);
    if (!statistics_.x || !call.needs.gw || count == 0) return;
    // Of a convolution no more is unfolded than is observed.
    const Window2d* window = call.op->window();
    statistics_.add_x(window ? im2col(x.held().rows(0, count), *window) : x.matrix().rows(0, count),
                      call);
}

Tensor WatchedRule::forward(const LinearInput& x, Saved& saved, const LinearCall& call) const {
    observe(x, call);
    return rule_->forward(x, saved, call);
}

void WatchedRule::save(const LinearInput& x, Saved& saved, const LinearCall& call) const {
    observe(x, call);
    rule_->save(x, saved, call);
}

LinearGrads WatchedRule::backward(const LinearGradient& gy, const Saved& saved,
                                  const LinearCall& call) const {
    if (const std::int64_t count = observed(call); count > 0)
        statistics_.add_g(gy.matrix().rows(0, count), call);
    return rule_->backward(gy, saved, call);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
