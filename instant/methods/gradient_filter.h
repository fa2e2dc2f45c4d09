#pragma once

#include "instant/methods/method.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// Gradient Filter (Yang et al., "Efficient On-device Training via Gradient Filtering", 2023;
// eqs. 35 to 38 of INSTANT's App. D.2). The tokens are an image in square patches, and each patch
// is one value:
//
//   kept of x    x̂ = Σ of each patch              (B, p, Cx) of p patches
//   g_w          Σ ĝᵀ x̂,  ĝ = mean of g over each patch
//   g_x          ĝ W, the same for all tokens of a patch
//
// A ragged edge is padded by zeros, which the means leave out; the tokens before the image are kept
// as they are. A convolution of stride s is one token at each pixel: x̂ is of windows of
// s·patch pixels, g_x takes W summed over the kernel, and g_w is the same at all of its places.
// With s > 1 both count each g_y s² times, as the authors' do.

const Option& patch_option();

std::shared_ptr<const BackwardRule> gradient_filter_rule(const RuleRequest& request);
Compression gradient_filter_compression(const LinearShape& layer, const MethodOptions& options);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
