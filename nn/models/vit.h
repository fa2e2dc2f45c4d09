#pragma once

#include "nn/attention.h"
#include "nn/drop_path.h"
#include "nn/dropout.h"
#include "nn/gelu.h"
#include "nn/layer_norm.h"
#include "nn/models/model.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

struct VitSize {
    std::int64_t width = 192;
    std::int64_t blocks = 6;
    std::int64_t heads = 3;
    std::int64_t mlp_ratio = 4;
    std::int64_t patch = 0;    // its side; 0 is vit_patch()
    bool class_token = false;  // the head reads it instead of the mean
    double epsilon = 1e-5;     // of LayerNorm
};

/// The side of a patch: about an eighth of the image's, so that there are about 64 tokens (4 for
/// 32x32 and for 28x28, which makes 49). The smallest that divides both sides, from an eighth to a
/// quarter. Throws Error if there is none.
std::int64_t vit_patch(std::int64_t height, std::int64_t width);

/// A block of a pre-LayerNorm transformer encoder:
///   x += attention(norm1(x));  x += fc2(gelu(fc1(norm2(x))))
/// with optional dropout on the probabilities, after the GELU and after each branch, and stochastic
/// depth.
class EncoderBlock final : public Module {
  public:
    EncoderBlock(const ModelConfig& config, const VitSize& size, const std::string& name,
                 double drop_path = 0);
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "encoder_block"; }

  private:
    LayerNorm norm1_;
    MultiHeadAttention attention_;
    LayerNorm norm2_;
    Linear fc1_;
    GELU gelu_;
    Linear fc2_;
    Dropout dropout_;
    DropPath drop_path_;
};

/// A vision transformer (Dosovitskiy et al. 2021): patches, learned positions, encoder blocks, the
/// mean over tokens, LayerNorm and a linear head; or, as published, with a class token before the
/// patches, which alone the head reads.
///
/// A patch is the row (C, ph, pw), so the weight of `patch_embed` is that of the Conv2d with kernel
/// and stride `patch` in PyTorch, flattened. Positions start as N(0, 0.02²), all else as PyTorch's
/// layers do.
class Vit final : public BlockModel {
  public:
    /// Throws Error if no patch size fits the image, or that of `size` does not, or heads does not
    /// divide the width.
    Vit(const ModelConfig& config, const VitSize& size);
    /// x: (B, C, H, W) -> (B, classes).
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "vit"; }
    std::vector<Module*> blocks() override;
    std::vector<Alias> aliases() override;
    /// Positions of another grid, which must have been a square: bicubic between them.
    Tensor resized(const std::string& name, const Tensor& of_file) override;
    std::int64_t patch() const { return patch_; }
    std::int64_t tokens() const {
        return config_.height / patch_ * (config_.width / patch_) + (class_token() ? 1 : 0);
    }
    bool class_token() const { return class_token_.value.defined(); }

  private:
    ModelConfig config_;
    std::int64_t patch_;
    Linear patch_embed_;
    Parameter class_token_;  // (1, 1, width); undefined if there is none
    Parameter positions_;    // (1, tokens, width), that of the class token first
    Dropout dropout_;
    std::vector<std::unique_ptr<EncoderBlock>> blocks_;
    LayerNorm norm_;
    Linear head_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
