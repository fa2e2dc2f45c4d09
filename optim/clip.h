#pragma once

#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Scales all gradients by min(1, max_norm / (norm + 1e-6)), where norm is the Euclidean length of
/// all of them together; returns that norm. The same rule as PyTorch's clip_grad_norm_. Counted
/// under the phase `optimizer`. Throws Error unless max_norm > 0.
///
/// A compressed gradient enters with the norm of its compressed value. On CompAct's P, E PᵀP = I,
/// so that its square is on average that of the exact gradient; what it stands for, G PᵀP, is
/// about √(Cx / r) times as long.
double clip_grad_norm(Module& model, double max_norm);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
