#pragma once

#include <memory>
#include <vector>

#include "nn/linear.h"
#include "nn/models/conv_norm.h"
#include "nn/pooling.h"
#include "nn/sequential.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A residual block of two 3x3 convolutions (ResNet-18), or of 1x1, 3x3 and 1x1 with a quarter of
/// the channels between them (ResNet-50, "bottleneck"); the 3x3 one has the stride, as in PyTorch.
/// Where shape or channels change, the shortcut is a 1x1 convolution with a normalisation:
///   y = relu(branch(x) + shortcut(x))
class ImageNetBlock final : public Module {
  public:
    struct Options {
        std::int64_t in, out, stride;
        bool bottleneck;
    };
    ImageNetBlock(const Options& options, std::uint64_t seed, const std::string& name);
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "imagenet_block"; }

  private:
    std::vector<std::unique_ptr<ConvNorm>> branch_;
    std::unique_ptr<ConvNorm> downsample_;  // null where x is the shortcut
};

/// ResNet-18 and ResNet-50 of He et al., "Deep residual learning for image recognition" (CVPR
/// 2016), for large images: a 7x7 convolution of stride 2, a maximum of 3x3 of stride 2, four
/// stages, the mean over the pixels and a linear classifier. Names are those of torchvision and
/// timm.
class ImageNetResNet final : public BlockModel {
  public:
    /// Throws Error unless depth is 18, 34, 50, 101 or 152.
    ImageNetResNet(std::int64_t depth, const ModelConfig& config);
    /// x: (B, C, H, W) -> logits (B, classes).
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "resnet"; }
    std::vector<Module*> blocks() override;
    std::vector<Alias> aliases() override;

  private:
    bool bottleneck_;
    ConvNorm stem_;
    MaxPool2d maxpool_;
    std::vector<std::unique_ptr<Sequential>> layers_;
    GlobalAvgPool2d pool_;
    Linear fc_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
