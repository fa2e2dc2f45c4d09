#pragma once

#include "nn/batch_norm.h"
#include "nn/conv2d.h"
#include "nn/linear.h"
#include "nn/models/model.h"
#include "nn/pooling.h"
#include "nn/sequential.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)). Where the block changes the number of
/// channels it has stride 2, and its shortcut takes every second pixel and fills the new channels,
/// half of them before and half after the old ones, with zeros: "option A" of He et al., which has
/// no parameters.
class BasicBlock final : public Module {
  public:
    /// `name` is that of the block in its model; initial values are drawn from streams named after
    /// the layers.
    BasicBlock(std::int64_t in_channels, std::int64_t out_channels, std::uint64_t seed,
               const std::string& name);

    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "basic_block"; }

  private:
    Var shortcut(const Var& x) const;

    std::int64_t out_channels_;
    Conv2d conv1_;
    BatchNorm2d bn1_;
    Conv2d conv2_;
    BatchNorm2d bn2_;
};

/// The residual network for small images of He et al., "Deep residual learning for image
/// recognition" (CVPR 2016), Sec. 4.2: a 3x3 convolution, three stages of `blocks` BasicBlocks with
/// 16, 32 and 64 channels, the mean over the pixels and a linear classifier; 6·blocks + 2 layers.
/// Parameters are named as in akamaster/pytorch_resnet_cifar10, whose weights load as they are.
class ResNet final : public BlockModel {
  public:
    /// Throws Error unless depth = 6n + 2 with n >= 1.
    ResNet(std::int64_t depth, const ModelConfig& config);

    /// x: (B, C, H, W) -> logits (B, classes).
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "resnet"; }
    std::vector<Module*> blocks() override;

  private:
    Conv2d conv1_;
    BatchNorm2d bn1_;
    Sequential layer1_, layer2_, layer3_;
    GlobalAvgPool2d pool_;
    Linear linear_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
