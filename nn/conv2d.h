#pragma once

#include "nn/linear_map.h"
#include "tensor/kernels/im2col.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A length for each of the two axes of an image; one number stands for both.
struct Size2d {
    std::int64_t rows, columns;
    constexpr Size2d(std::int64_t both) : rows(both), columns(both) {}  // NOLINT: 3 means 3x3
    constexpr Size2d(std::int64_t rows, std::int64_t columns) : rows(rows), columns(columns) {}
};

struct Conv2dOptions {
    Size2d kernel = 3;
    Size2d stride = 1;
    Size2d padding = 0;
    Size2d dilation = 1;
    std::int64_t groups = 1;  // groups = in_channels is the depthwise convolution
    bool bias = true;
};

/// The window of a layer on images of height x width. Throws Error, in the name of `layer`, if the
/// kernel is larger than the padded image, and for lengths that do not fit into 64 bits.
Window2d make_window(const std::string& layer, std::int64_t height, std::int64_t width,
                     Size2d kernel, Size2d stride, Size2d padding, Size2d dilation = 1);

/// A two-dimensional convolution: x (B, C, H, W) -> y (B, Cy, H', W'), with W: (Cy, C/groups, kh,
/// kw) and b: (Cy,). It is the linear map y = unfold(x) Wᵀ on L = H'·W' tokens of C·kh·kw channels
/// (convolution_operator.h), and leaves its backward to a rule; an exact x is kept raw. Grouped
/// convolutions are never compressed. Initialised as in PyTorch: U(-1/√n, 1/√n), n =
/// C/groups·kh·kw.
class Conv2d final : public LinearMap {
  public:
    /// Throws Error unless all sizes are positive and `groups` divides both numbers of channels.
    Conv2d(std::int64_t in_channels, std::int64_t out_channels, const Conv2dOptions& options,
           Stream& stream);

    /// Throws Error unless x is (B, in_channels, H, W) and the kernel fits into it.
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "conv2d"; }
    using LinearMap::bias;
    using LinearMap::weight;
    Parameter& weight() override { return weight_; }
    Parameter* bias() override { return bias_.value.defined() ? &bias_ : nullptr; }
    const Conv2dOptions& options() const { return options_; }

  private:
    Conv2dOptions options_;
    Shape weight_shape_;
    Parameter weight_;
    Parameter bias_;  // undefined if the layer has none
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
