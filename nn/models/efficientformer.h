#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "nn/drop_path.h"
#include "nn/dropout.h"
#include "nn/gelu.h"
#include "nn/layer_norm.h"
#include "nn/layer_scale.h"
#include "nn/linear.h"
#include "nn/models/conv_norm.h"
#include "nn/pooling.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Attention with distance_bias(); keys of 32 columns a head, values of 128.
class BiasedAttention final : public Module {
  public:
    BiasedAttention(std::int64_t width, std::int64_t rows, std::int64_t columns, Stream& stream);
    /// x: (B, rows · columns, width).
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "biased_attention"; }

  private:
    std::int64_t rows_, columns_;
    Parameter attention_biases_;  // (heads, rows · columns)
    Linear qkv_, proj_;
};

/// A block of EfficientFormer: a mixer of tokens and a network on each of them, both scaled by
/// LayerScale. On images the mixer is the mean of 3x3 pixels less the pixel, and the network has
/// 1x1 convolutions; on tokens it is attention, and the network has linear layers.
class EfficientFormerBlock final : public Module {
  public:
    struct Options {
        std::int64_t width, rows, columns;
        bool attention;
        double drop_path;
    };
    EfficientFormerBlock(const Options& options, const ModelConfig& config,
                         const std::string& name);
    /// x: (B, C, H, W), or (B, L, C) with attention.
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "efficientformer_block"; }

  private:
    struct OnImages {
        AvgPool2d pool;
        ConvNorm fc1, fc2;
    };
    struct OnTokens {
        LayerNorm norm1;
        BiasedAttention mixer;
        LayerNorm norm2;
        Linear fc1, fc2;
    };
    std::unique_ptr<OnImages> images_;
    std::unique_ptr<OnTokens> tokens_;
    LayerScale ls1_, ls2_;
    GELU gelu_;
    Dropout dropout_;
    DropPath drop_path_;
};

/// EfficientFormer-L1 (Li et al., "EfficientFormer: vision transformers at MobileNet speed",
/// NeurIPS 2022): two 3x3 convolutions of stride 2, four stages of 3, 2, 6 and 4 blocks with 48,
/// 96, 224 and 448 channels, the last block with attention; LayerNorm, the mean over tokens, and
/// two linear heads whose mean is the result, since the published ones were distilled. Methods
/// compress linear layers and 1x1 convolutions, as in Table 1 of INSTANT's paper: no head, no 3x3
/// convolution. Names are those of timm.
class EfficientFormer final : public BlockModel {
  public:
    /// Throws Error unless the sides of the images are at least 32.
    explicit EfficientFormer(const ModelConfig& config);
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "efficientformer"; }
    std::vector<Module*> blocks() override;
    std::vector<std::string> heads() override { return {"head.", "head_dist."}; }

  private:
    struct Stage {
        std::unique_ptr<ConvNorm> downsample;  // null in the first
        std::vector<std::unique_ptr<EfficientFormerBlock>> blocks;
    };
    ModelConfig config_;
    ConvNorm stem1_, stem2_;
    std::vector<Stage> stages_;
    std::int64_t rows_, columns_;  // of the last stage
    LayerNorm norm_;
    Linear head_, head_dist_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
