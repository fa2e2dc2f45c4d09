#include "nn/models/resnet.h"

#include "autograd/ops.h"
#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

Conv2d conv3x3(std::int64_t in_channels, std::int64_t out_channels, std::int64_t stride,
               std::uint64_t seed, const std::string& name) {
    return seeded(seed, name, [&](Stream& stream) {
        return Conv2d(in_channels, out_channels,
                      {.kernel = 3, .stride = stride, .padding = 1, .bias = false}, stream);
    });
}

// y_(b,p+c,i,j) = x_(b,c,2i,2j), zeros in the p channels before and after
//   g_x is g at every second pixel, zeros between them
class PaddedShortcut final : public Function {
  public:
    PaddedShortcut(std::string name, const Shape& x, std::int64_t out_channels)
        : name_(std::move(name)),
          x_(x),
          y_{x[0], out_channels, (x[2] + 1) / 2, (x[3] + 1) / 2},
          before_((out_channels - x[1]) / 2) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved&) const override {
        Tensor y = Tensor::zeros(y_);
        const real* from = in[0].data();
        real* to = y.data();
        for_each_pixel([&](std::int64_t i, std::int64_t j) { to[j] = from[i]; });
        meter().add(0);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved&) const override {
        Tensor gx = Tensor::zeros(x_);
        const real* from = gy.data();
        real* to = gx.data();
        for_each_pixel([&](std::int64_t i, std::int64_t j) { to[i] = from[j]; });
        meter().add(0);
        return {gx};
    }

  private:
    /// Calls f(i, j) for each element i of x that is copied to the element j of y.
    template <class F>
    void for_each_pixel(F f) const {
        const std::int64_t channels = x_[1], height = y_[2], width = y_[3];
#pragma omp parallel for collapse(2) schedule(static) if (numel(x_) > parallel_threshold)
        for (std::int64_t b = 0; b < x_[0]; ++b)
            for (std::int64_t c = 0; c < channels; ++c)
                for (std::int64_t row = 0; row < height; ++row) {
                    const std::int64_t i = ((b * channels + c) * x_[2] + 2 * row) * x_[3];
                    const std::int64_t j = ((b * y_[1] + before_ + c) * height + row) * width;
                    for (std::int64_t column = 0; column < width; ++column)
                        f(i + 2 * column, j + column);
                }
    }

    std::string name_;
    Shape x_, y_;
    std::int64_t before_;
};

}  // namespace

BasicBlock::BasicBlock(std::int64_t in_channels, std::int64_t out_channels, std::uint64_t seed,
                       const std::string& name)
    : out_channels_(out_channels),
      conv1_(conv3x3(in_channels, out_channels, in_channels == out_channels ? 1 : 2, seed,
                     name + ".conv1")),
      bn1_(out_channels),
      conv2_(conv3x3(out_channels, out_channels, 1, seed, name + ".conv2")),
      bn2_(out_channels) {}

Var BasicBlock::shortcut(const Var& x) const {
    if (x.size(1) == out_channels_) return x;
    return x.tape().apply(
        std::make_shared<PaddedShortcut>(path() + ".shortcut", x.shape(), out_channels_), {x});
}

Var BasicBlock::forward(const Var& x) {
    const Var inner = bn1_.forward_relu(conv1_.forward(x));
    return bn2_.forward_relu(conv2_.forward(inner), shortcut(x));
}

void BasicBlock::visit(Visitor& visitor) {
    visitor.module("conv1", conv1_);
    visitor.module("bn1", bn1_);
    visitor.module("conv2", conv2_);
    visitor.module("bn2", bn2_);
}

ResNet::ResNet(std::int64_t depth, const ModelConfig& config)
    : conv1_(conv3x3(config.channels, 16, 1, config.seed, "conv1")),
      bn1_(16),
      linear_(seeded(config.seed, "linear",
                     [&](Stream& stream) { return Linear(64, config.classes, stream); })) {
    require(depth >= 8 && depth % 6 == 2, "[resnet] expected a depth of 6n + 2, got {}", depth);
    std::int64_t in_channels = 16, number = 1;
    for (Sequential* stage : {&layer1_, &layer2_, &layer3_}) {
        const std::int64_t out_channels = 8 << number;
        for (std::int64_t i = 0; i < (depth - 2) / 6; ++i) {
            stage->add<BasicBlock>(in_channels, out_channels, config.seed,
                                   fmt::format("layer{}.{}", number, i));
            in_channels = out_channels;
        }
        ++number;
    }
    linear_.set_compressible(false);  // it sees one pooled vector, not tokens
    name_modules(*this);
}

Var ResNet::forward(const Var& x) {
    require(x.value().ndim() == 4 && x.size(1) == conv1_.weight().value.size(1),
            "[resnet] expected images (batch, {}, height, width), got {}",
            conv1_.weight().value.size(1), shown(x.shape()));
    const Var h = bn1_.forward_relu(conv1_.forward(x));
    return linear_.forward(pool_.forward(layer3_.forward(layer2_.forward(layer1_.forward(h)))));
}

std::vector<Module*> ResNet::blocks() {
    std::vector<Module*> all;
    for (Sequential* stage : {&layer1_, &layer2_, &layer3_})
        for (std::size_t i = 0; i < stage->size(); ++i) all.push_back(&(*stage)[i]);
    return all;
}

void ResNet::visit(Visitor& visitor) {
    visitor.module("conv1", conv1_);
    visitor.module("bn1", bn1_);
    visitor.module("layer1", layer1_);
    visitor.module("layer2", layer2_);
    visitor.module("layer3", layer3_);
    visitor.module("pool", pool_);
    visitor.module("linear", linear_);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
