#include "tensor/meter.h"

#include "tensor/checked.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

Meter& meter() {
    thread_local Meter instance;
    return instance;
}

const std::string& current_layer() { return meter().open_.first; }

void Meter::add(std::int64_t flops) {
    require(flops >= 0, "[meter] a count of FLOPs cannot be negative, got {}", flops);
    if (!slot_) slot_ = &counts_[open_];
    *slot_ = Checked(*slot_) + flops;
    ++events_;
}

std::int64_t Meter::total() const {
    std::int64_t sum = 0;
    for (const auto& [key, flops] : counts_) sum += flops;
    return sum;
}

std::int64_t Meter::phase(std::string_view phase) const {
    std::int64_t sum = 0;
    for (const auto& [key, flops] : counts_)
        if (key.second == phase) sum += flops;
    return sum;
}

std::int64_t Meter::count(const std::string& layer, const std::string& phase) const {
    const auto found = counts_.find({layer, phase});
    return found == counts_.end() ? 0 : found->second;
}

void Meter::reset() {
    counts_.clear();
    slot_ = nullptr;
}

LayerScope::LayerScope(std::string layer) : outer_(std::move(layer)) {
    std::swap(meter().open_.first, outer_);
    meter().slot_ = nullptr;
}

LayerScope::~LayerScope() {
    std::swap(meter().open_.first, outer_);
    meter().slot_ = nullptr;
}

PhaseScope::PhaseScope(std::string phase, bool pinned)
    : outer_(meter().open_.second), outer_pinned_(meter().phase_pinned_) {
    if (outer_pinned_) return;
    meter().open_.second = std::move(phase);
    meter().phase_pinned_ = pinned;
    meter().slot_ = nullptr;
}

PhaseScope::~PhaseScope() {
    if (outer_pinned_) return;
    std::swap(meter().open_.second, outer_);
    meter().phase_pinned_ = false;
    meter().slot_ = nullptr;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
