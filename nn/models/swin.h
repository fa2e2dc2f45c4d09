#pragma once

#include <memory>
#include <vector>

#include "nn/cosine_attention.h"
#include "nn/drop_path.h"
#include "nn/dropout.h"
#include "nn/gelu.h"
#include "nn/layer_norm.h"
#include "nn/models/model.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

struct SwinSize {
    std::int64_t width = 96, window = 8;
    std::vector<std::int64_t> blocks{2, 2, 18, 2}, heads{3, 6, 12, 24};
};

/// A block of Swin Transformer V2, with LayerNorm at the end of each branch:
///   x += norm1(attn(x));  x += norm2(fc2(gelu(fc1(x))))
class SwinBlock final : public Module {
  public:
    SwinBlock(std::int64_t width, std::int64_t heads, const Windows& windows, double drop_path,
              const ModelConfig& config, const std::string& name);
    /// x: (B, rows · columns, width).
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "swin_block"; }

  private:
    WindowAttention attention_;
    LayerNorm norm1_;
    Linear fc1_;
    GELU gelu_;
    Linear fc2_;
    LayerNorm norm2_;
    Dropout dropout_;
    DropPath drop_path_;
};

/// Swin Transformer V2 (Liu et al. 2022): patches of 4x4, four stages of blocks whose attention
/// sees windows, every second of them shifted by half a window, and between the stages four
/// neighbours become one token of twice the width; then LayerNorm, the mean over tokens and a
/// linear head. Names are those of timm. Where the grid of a stage is not larger than a window, the
/// window is the grid.
class Swin final : public BlockModel {
  public:
    /// Throws Error unless windows fit the grid of every stage.
    Swin(const SwinSize& size, const ModelConfig& config);
    /// x: (B, C, H, W) -> (B, classes).
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "swin"; }
    std::vector<Module*> blocks() override;
    std::vector<Alias> aliases() override;

  private:
    struct Stage {
        std::int64_t rows, columns;
        std::unique_ptr<Linear> reduction;  // null in the first stage
        std::unique_ptr<LayerNorm> norm;
        std::vector<std::unique_ptr<SwinBlock>> blocks;
    };
    ModelConfig config_;
    Linear patch_embed_;
    LayerNorm patch_norm_;
    std::vector<Stage> stages_;
    LayerNorm norm_;
    Linear head_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
