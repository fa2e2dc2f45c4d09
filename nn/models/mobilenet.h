#pragma once

#include <optional>

#include "nn/drop_path.h"
#include "nn/dropout.h"
#include "nn/linear.h"
#include "nn/models/conv_norm.h"
#include "nn/pooling.h"
#include "nn/sequential.h"
#include "nn/zero_pad.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A stage of equal blocks, of which the first has the stride: a row of Table 2 in the paper of
/// MobileNetV2, with the side of the depthwise kernel.
struct MobileStage {
    std::int64_t expand, channels, blocks, stride, kernel;
};

/// What tells one network of this family from another.
struct MobileNetSize {
    std::vector<MobileStage> stages;
    double epsilon = 1e-5, momentum = 0.1;  // of the normalisations
    bool same_padding = false;  // as in TensorFlow (SamePad2d), else on both sides alike

    static MobileNetSize v2();
    static MobileNetSize efficientnet_lite0();
};

/// The inverted residual with a linear bottleneck of Sandler et al. (2018):
///   h = relu6(bn1(conv_pw(x)));  h = relu6(bn2(conv_dw(h)));  y = bn3(conv_pwl(h))
/// and y + x where x has the shape of y. A block that does not expand has no conv_pw; what is left
/// is called conv_dw, bn1, conv_pw, bn2, as in timm.
class InvertedResidual final : public Module {
  public:
    struct Options {
        std::int64_t in, out, expand, stride, kernel;
        double drop_path;
    };
    InvertedResidual(const Options& options, const MobileNetSize& net, std::uint64_t seed,
                     const std::string& name);
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "inverted_residual"; }
    bool expands() const { return expand_.has_value(); }

  private:
    bool residual_, pads_;
    std::optional<ConvNorm> expand_;
    SamePad2d pad_;
    ConvNorm depthwise_, project_;
    DropPath drop_path_;
};

/// MobileNetV2 (Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR
/// 2018) and EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation and with ReLU6): a
/// 3x3 convolution of stride 2, stages of inverted residuals, a 1x1 convolution to 1280 channels,
/// the mean over the pixels, dropout, and a linear classifier. Initialised as PyTorch's layers;
/// names as in timm.
class MobileNet final : public BlockModel {
  public:
    MobileNet(const MobileNetSize& size, const ModelConfig& config);
    /// x: (B, C, H, W) -> logits (B, classes).
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "mobilenet"; }
    std::vector<Module*> blocks() override;
    std::vector<Alias> aliases() override;

  private:
    MobileNetSize size_;
    SamePad2d pad_;
    ConvNorm stem_;
    std::vector<std::vector<std::unique_ptr<InvertedResidual>>> stages_;
    ConvNorm head_;
    GlobalAvgPool2d pool_;
    Dropout dropout_;
    Linear classifier_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
