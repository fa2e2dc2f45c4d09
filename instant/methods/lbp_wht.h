#pragma once

#include "instant/methods/method.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// LBP-WHT (Yang et al., "Efficient Low-rank Backpropagation for Vision Transformer Adaptation",
// 2023; eqs. 39 to 45 of INSTANT's App. D.3). The tokens are an image in patches of 8x8. Of each
// patch the coefficients of the R lowest two-dimensional Walsh-Hadamard functions are used:
//
//   H: (R, 64), rows h_r ⊗ h_c for r + c < order, h_i the Walsh function of i changes of sign
//   kept of x    x̂ = H x_patch                    (B, p·R, Cx) of p patches
//   g_w          Σ ĝᵀ x̂,  ĝ = H g_patch / 64
//   g_x          Hᵀ (ĝ W)
//
// Order 15 has all 64 functions: vanilla, if no patch is ragged. A ragged edge is padded by its
// mirror image; the tokens before the image are kept as they are.

const Option& order_option();

std::shared_ptr<const BackwardRule> lbp_wht_rule(const RuleRequest& request);
Compression lbp_wht_compression(const LinearShape& layer, const MethodOptions& options);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
