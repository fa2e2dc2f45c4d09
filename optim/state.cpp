#include "optim/state.h"

#include <algorithm>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

bool ParameterState::is_zero() const {
    return std::ranges::all_of(values, [](const Tensor& value) {
        return std::ranges::all_of(value.values(), [](real v) { return v == 0; });
    });
}

void ParameterState::check_dense(const Parameter& parameter, const std::string& name) const {
    const Shape& shape = parameter.value.shape();
    for (const Tensor& value : values)
        require(period || !value.defined() || value.shape() == shape,
                "[optimizer] the state of '{}' has shape {}, its parameter {}. Hint: make a new "
                "optimizer for replaced parameters",
                name, shown(value.shape()), shown(shape));
}

void ParameterState::check(const Parameter& parameter, const std::string& name) const {
    check_dense(parameter, name);
    const Grad& gradient = parameter.grad;
    const bool compressed = gradient.basis != nullptr;
    if (!exists() || (!period && (!compressed || is_zero()))) return;
    const auto word = [](bool is) { return is ? "compressed" : "dense"; };
    for (const Tensor& value : values)
        require(period && compressed && value.shape() == gradient.value.shape(),
                "[optimizer] the state of '{}' is of {} gradients of shape {}, and now comes a {} "
                "one of shape {}. Hint: {}a new optimizer begins without a state",
                name, word(period.has_value()), shown(value.shape()), word(compressed),
                shown(gradient.value.shape()),
                period && !compressed ? "gradients in two bases, as of two draws, add up to a "
                                        "dense one; "
                                      : "");
}

void ParameterState::make(const Shape& shape) {
    for (Tensor& value : values)
        if (!value.defined()) value = Tensor::zeros(shape).mark(Category::optimizer);
}

void ParameterState::follow(const Grad& gradient, const std::vector<StateSlot>& slots) {
    if (!gradient.basis) return make(gradient.value.shape());
    const std::int64_t now = gradient.basis->period();
    if (!period) values.assign(values.size(), Tensor());  // zeros, as check() has seen
    if (exists() && period != now) {
        std::vector<Tensor> all(values.size());  // all of them or, if one fails, none
        for (std::size_t i = 0; i < slots.size(); ++i) {
            Tensor carried = gradient.basis->carry(values[i], slots[i].power, *period);
            require(carried.defined() && carried.shape() == gradient.value.shape(),
                    "[optimizer] a basis carries a moment of shape {} over to {}",
                    shown(values[i].shape()), shown(carried));
            all[i] = std::move(carried.mark(Category::optimizer));
        }
        values = std::move(all);
    }
    period = now;
    make(gradient.value.shape());
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
