#pragma once

#include "autograd/function.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// An optimiser's running value of one parameter, zeros where it does not exist yet. PyTorch starts
/// momentum with the first gradient, which is the same as starting from zero.
/// Throws Error, in the name of the parameter, if either has been replaced by another shape.
inline Tensor& ensure_state(Tensor& state, const Parameter& parameter, const std::string& name) {
    const Shape& shape = parameter.value.shape();
    if (!state.defined()) state = Tensor::zeros(shape).mark(Category::optimizer);
    require(state.shape() == shape,
            "[optimizer] the state of '{}' has shape {}, its parameter {}. Hint: make a new "
            "optimizer for replaced parameters",
            name, shown(state.shape()), shown(shape));
    return state;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
