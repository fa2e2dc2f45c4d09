#include "nn/conv2d.h"

#include "nn/convolution_operator.h"
#include "nn/init.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
Window2d make_window(const std::string& layer, std::int64_t height, std::int64_t width,
                     Size2d kernel, Size2d stride, Size2d padding, Size2d dilation) {
    const Window2d window{
        {height, kernel.rows, stride.rows, padding.rows, dilation.rows},
        {width, kernel.columns, stride.columns, padding.columns, dilation.columns}};
    require(window.positions() > 0,
            "[{}] a kernel of {}x{} with dilation {}x{} does not fit into an image of {}x{} with "
            "padding {}x{}",
            layer, kernel.rows, kernel.columns, dilation.rows, dilation.columns, height, width,
            padding.rows, padding.columns);
    return window;
}

Conv2d::Conv2d(std::int64_t in_channels, std::int64_t out_channels, const Conv2dOptions& options,
               Stream& stream)
    : options_(options) {
    const auto at_least = [](Size2d pair, std::int64_t least) {
        return pair.rows >= least && pair.columns >= least;
    };
    require(in_channels > 0 && out_channels > 0 && at_least(options.kernel, 1) &&
                at_least(options.stride, 1) && at_least(options.dilation, 1) &&
                at_least(options.padding, 0),
            "[conv2d] channels, kernel, stride and dilation must be at least 1 and padding at "
            "least 0");
    require(options.groups > 0 && in_channels % options.groups == 0 &&
                out_channels % options.groups == 0,
            "[conv2d] {} groups must divide {} input channels and {} output channels",
            options.groups, in_channels, out_channels);
    const Shape& shape = weight_shape_ = {out_channels, in_channels / options.groups,
                                          options.kernel.rows, options.kernel.columns};
    const std::int64_t fan_in = numel({shape.begin() + 1, shape.end()});
    weight_ = Parameter(kaiming_uniform(shape, fan_in, stream));
    if (options.bias) bias_ = Parameter(kaiming_uniform({out_channels}, fan_in, stream));
    set_compressible(options.groups == 1);
}

Var Conv2d::forward(const Var& x) {
    require_shape(path(), "a weight", weight_.value, weight_shape_);
    if (options_.bias) require_shape(path(), "a bias", bias_.value, {weight_shape_[0]});
    const std::int64_t channels = weight_shape_[1] * options_.groups;
    require(x.value().ndim() == 4 && x.size(1) == channels,
            "[{}] expected images (batch, {}, height, width), got {}", path(), channels,
            shown(x.shape()));
    const Window2d window = make_window(path(), x.size(2), x.size(3), options_.kernel,
                                        options_.stride, options_.padding, options_.dilation);
    auto op = std::make_shared<ConvolutionOperator>(x.shape(), window, options_.groups);
    const TokenLayout layout{window.rows.positions(), window.columns.positions()};
    return apply(x, std::move(op), layout, options_.groups > 1);
}

void Conv2d::visit(Visitor& visitor) {
    visitor.parameter("weight", weight_);
    if (bias()) visitor.parameter("bias", bias_);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
