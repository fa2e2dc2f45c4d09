#pragma once

#include "tensor/tensor.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

/// An optimiser's running value of one parameter, zeros where it does not exist yet. PyTorch starts
/// momentum with the first gradient, which is the same as starting from zero.
inline Tensor& ensure_state(Tensor& state, const Tensor& like) {
    if (!state.defined()) state = Tensor::zeros(like.shape()).mark(Category::optimizer);
    return state;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
