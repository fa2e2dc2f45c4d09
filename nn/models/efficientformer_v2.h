#pragma once

#include <memory>
#include <vector>

#include "nn/drop_path.h"
#include "nn/dropout.h"
#include "nn/gelu.h"
#include "nn/layer_scale.h"
#include "nn/linear.h"
#include "nn/models/conv_norm.h"
#include "nn/pooling.h"
#include "nn/softmax.h"
#include "nn/upsample.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Attention among the pixels of an image, Q, K and V made by 1x1 convolutions with normalisation:
///   S = talking_head1(Q Kᵀ / √32 + distance_bias),  P = talking_head2(softmax(S))
///   y = proj(gelu(P V + v_local(V)))
/// The talking heads mix the heads of one pair of pixels (Shazeer et al. 2020); v_local is a
/// depthwise 3x3 convolution. With `stride` 2 all this happens on a quarter of the pixels, between
/// a depthwise convolution and an UpsampleBilinear2d.
class TalkingAttention final : public Module {
  public:
    struct Options {
        std::int64_t width, rows, columns;  // of the images
        std::int64_t stride = 1;            // divides both sides
    };
    TalkingAttention(const Options& options, std::uint64_t seed, const std::string& name);
    /// x: (B, width, rows, columns), and so the result.
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "talking_attention"; }

  private:
    std::int64_t rows_, columns_;            // on which attention works
    Parameter attention_biases_;             // (heads, rows · columns)
    std::unique_ptr<ConvNorm> stride_conv_;  // null without a stride
    UpsampleBilinear2d upsample_;
    ConvNorm q_, k_, v_, v_local_;
    Conv2d talking_head1_, talking_head2_;
    Softmax softmax_;
    GELU gelu_;
    ConvNorm proj_;
};

/// The step to images of half the sides and `out` channels: a convolution of stride 2 and, in the
/// last stage, beside it attention in which every second pixel of a row and column asks:
///   y = conv(x) + proj(gelu(softmax(Q Kᵀ / √16 + distance_bias) V + v_local(V)))
/// Q comes from those pixels plus a depthwise convolution around each.
class HalvingStep final : public Module {
  public:
    struct Options {
        std::int64_t in, out, rows, columns;  // of the images that come
        bool attention;
    };
    HalvingStep(const Options& options, std::uint64_t seed, const std::string& name);
    /// x: (B, in, rows, columns).
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "halving_step"; }

  private:
    struct Attention {
        Parameter attention_biases;  // (heads, rows · columns)
        AvgPool2d pool;
        Conv2d local;
        ConvNorm q, k, v, v_local;
        Softmax softmax;
        GELU gelu;
        ConvNorm proj;
    };
    Var attend(Attention& a, const Var& x) const;

    std::int64_t rows_, columns_;
    ConvNorm conv_;
    std::unique_ptr<Attention> attention_;
};

/// A block of EfficientFormerV2: in some, attention; in all, 1x1, depthwise 3x3 and 1x1
/// convolutions. Each part is scaled by LayerScale and added.
class EfficientFormerV2Block final : public Module {
  public:
    struct Options {
        std::int64_t width, expand, rows, columns;
        std::int64_t attention_stride;  // 0: no attention
        double drop_path;
    };
    EfficientFormerV2Block(const Options& options, const ModelConfig& config,
                           const std::string& name);
    /// x: (B, width, rows, columns).
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "efficientformer_v2_block"; }

  private:
    struct Mixer {
        TalkingAttention attention;
        LayerScale scale;
    };
    std::unique_ptr<Mixer> mixer_;
    ConvNorm fc1_, mid_, fc2_;
    LayerScale ls2_;
    GELU gelu_;
    Dropout dropout_;
    DropPath drop_path_;
};

/// EfficientFormerV2-S0 (Li et al., "Rethinking vision transformers for MobileNet size and speed",
/// ICCV 2023): two 3x3 convolutions of stride 2, four stages of 2, 2, 6 and 4 blocks with 32, 48,
/// 96 and 176 channels, the last two of the third and of the fourth with attention; a
/// normalisation, the mean over the pixels, and two linear heads whose mean is the result. Names
/// are those of timm.
class EfficientFormerV2 final : public BlockModel {
  public:
    /// Throws Error unless the sides of the images are multiples of 32.
    explicit EfficientFormerV2(const ModelConfig& config);
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "efficientformer_v2"; }
    std::vector<Module*> blocks() override;
    std::vector<std::string> heads() override { return {"head.", "head_dist."}; }

  private:
    struct Stage {
        std::unique_ptr<HalvingStep> downsample;  // null in the first
        std::vector<std::unique_ptr<EfficientFormerV2Block>> blocks;
    };
    ModelConfig config_;
    ConvNorm stem1_, stem2_;
    GELU gelu_;
    std::vector<Stage> stages_;
    BatchNorm2d norm_;
    GlobalAvgPool2d pool_;
    Linear head_, head_dist_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
