#pragma once

#include "nn/linear_operator.h"
#include "tensor/kernels/im2col.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The products of a convolution x (B, C, H, W) -> y (B, Cy, H', W'), W: (Cy, C/groups·kh·kw), as
/// those of the linear map y_b = unfold(x_b) Wᵀ on L = H'·W' tokens of C·kh·kw channels. None of
/// them holds the unfolded batch; only `x_matrix` does. With groups there are the exact ones alone.
class ConvolutionOperator final : public LinearOperator {
  public:
    ConvolutionOperator(Shape x_shape, const Window2d& window, std::int64_t groups = 1);

    std::int64_t tokens() const override { return window_.positions(); }
    const Shape& x_shape() const override { return x_shape_; }
    Shape y_shape(std::int64_t out_channels) const override;
    const Window2d* window() const override { return &window_; }
    Tensor forward(const Tensor& x, const Tensor& w) const override;
    Tensor gw(const Tensor& gy, const Tensor& x) const override;
    Tensor gx(const Tensor& gy, const Tensor& w) const override;
    Tensor gb(const Tensor& gy) const override;
    void add_bias_in_place(Tensor& y, const Tensor& b) const override;
    Tensor x_matrix(const Tensor& x) const override;
    Tensor y_matrix(const Tensor& y) const override;
    Tensor x_of(const Tensor& matrix) const override;
    Tensor y_of(const Tensor& matrix) const override;
    Tensor project(const Subspace& p, const Tensor& x) const override;
    ProjectedGradient project(const Subspace* p, const Subspace* q, const Tensor& gy,
                              bool with_sum) const override;
    Tensor expand(const Subspace& q, const Tensor& g_hat, const Tensor& w) const override;
    Tensor mix(const Tensor& gy, const Tensor& a) const override;
    Tensor pair(const Tensor& gy, const Tensor& x_hat) const override;

  private:
    std::int64_t in_channels() const { return x_shape_[1] / groups_ * window_.taps(); }  // Cx
    Tensor filters(const Tensor& rows) const;  // (R, Cx) as R filters
    Shape filter_shape(std::int64_t filters, std::int64_t channels) const;
    Tensor image(const Tensor& basis) const;  // (R, L) as one image of R channels
    Tensor on_tokens(const Tensor& a, const Tensor& gy) const;
    Window2d own_pixel() const;

    Shape x_shape_;
    Window2d window_;
    std::int64_t groups_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
