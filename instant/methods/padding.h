#pragma once

#include "nn/backward_rule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// x of the first samples of a call, (b, ..., C), with the rows of padding tokens set to zero; x
/// itself where the model states no padding of its tokens, or there is none.
Tensor without_padding(const Tensor& x, const LinearCall& call);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
