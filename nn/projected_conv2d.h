#pragma once

#include "nn/backward_rule.h"
#include "tensor/kernels/im2col.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

/// The convolution x (B, C, H, W), W (Cy, C, kh, kw) and, if there is one, b (Cy,), whose backward
/// runs in `subspaces`. It gives what the rule would give on the unfolded matrix and counts the
/// same, without ever making that matrix: see the formulas in projected_conv2d.cpp.
std::shared_ptr<const Function> projected_conv2d(std::string name, const Window2d& window,
                                                 Subspaces subspaces);

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
