#pragma once

#include "tensor/kernels/im2col.h"
#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// The exact products of a convolution, which never hold the unfolded batch: by oneDNN where the
// build has it, else sample by sample (convolution_kernels.h has both). x: (B, C, H, W), w: (Cy,
// C/groups, kh, kw), gy: (B, Cy, H', W'). Whoever computes it, each product counts what it is as a
// product with the unfolded image, 2·B·L·(C/groups)·kh·kw·Cy FLOPs. Shapes that do not fit throw
// Error.

/// y_b = W · unfold(x_b)
Tensor conv_forward(const Tensor& x, const Tensor& w, const Window2d& window, std::int64_t groups);
/// g_w = Σ_b g_b · unfold(x_b)ᵀ
Tensor conv_gw(const Tensor& gy, const Tensor& x, const Shape& w_shape, const Window2d& window,
               std::int64_t groups);
/// g_x,b = fold(Wᵀ · g_b). Folding counts its additions under a phase of its own, `fold`.
Tensor conv_gx(const Tensor& gy, const Tensor& w, const Window2d& window, std::int64_t groups);

/// Adds b_c to every pixel of channel c of y: (B, C, ...), in place.
void add_channels_in_place(Tensor& y, const Tensor& b);
/// The sum of each channel of x: (B, C, ...) -> (C,).
Tensor sum_channels(const Tensor& x);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
