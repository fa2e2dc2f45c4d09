#pragma once

#include "nn/dropout.h"
#include "nn/flatten.h"
#include "nn/linear.h"
#include "nn/models/model.h"
#include "nn/relu.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A multi-layer perceptron on the flattened image: fc1 (C·H·W -> 256), ReLU, fc2 (256 -> 256),
/// ReLU, head (256 -> classes), with optional dropout after each ReLU. Its two hidden layers are
/// its blocks. It has no token axis, so low-rank rules find nothing to compress.
class Mlp final : public BlockModel {
  public:
    explicit Mlp(const ModelConfig& config);
    /// x: (B, C, H, W) -> (B, classes).
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "mlp"; }
    std::vector<Module*> blocks() override { return {&fc1_, &fc2_}; }

  private:
    ModelConfig config_;
    Flatten flatten_;
    Linear fc1_;
    ReLU relu1_;
    Linear fc2_;
    ReLU relu2_;
    Dropout dropout_;
    Linear head_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
