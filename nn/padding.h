#pragma once

#include "nn/backward_rule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// x or g_y of the first samples of a call, (b, L, C), with zeros in the rows of padding: for what
/// takes statistics of the rows or mixes them. It is the matrix itself where the model states no
/// padding. In g_y those rows are zeros already if the model hides padding from all that it learns
/// from, as BERT does. Throws Error, naming the layer, if the model states the padding of other
/// tokens than these.
Tensor without_padding(const Tensor& matrix, const LinearCall& call);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
