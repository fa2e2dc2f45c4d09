#include "nn/models/vit.h"

#include <cmath>

#include "autograd/ops.h"
#include "nn/init.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

Linear linear(std::uint64_t seed, const std::string& name, std::int64_t in, std::int64_t out) {
    return seeded(seed, name, [=](Stream& stream) { return Linear(in, out, stream); });
}

/// (B, C, H, W) -> (B, tokens, C·patch·patch), tokens in row-major order of the patches.
Var patches(const Var& x, std::int64_t patch) {
    const std::int64_t batch = x.size(0), channels = x.size(1);
    const std::int64_t rows = x.size(2) / patch, columns = x.size(3) / patch;
    const Var cut = reshape(x, {batch, channels, rows, patch, columns, patch});
    return reshape(transpose(cut, {0, 2, 4, 1, 3, 5}),
                   {batch, rows * columns, channels * patch * patch});
}

}  // namespace

std::int64_t vit_patch(std::int64_t height, std::int64_t width) {
    const double side = std::sqrt(static_cast<double>(height) * static_cast<double>(width));
    const auto smallest = static_cast<std::int64_t>(std::ceil(side / 8));
    for (std::int64_t patch = smallest; patch <= 2 * smallest; ++patch)
        if (height % patch == 0 && width % patch == 0) return patch;
    fail("[vit] no patch side from {} to {} divides images of {}x{}. Hint: crop or pad the images",
         smallest, 2 * smallest, height, width);
}

EncoderBlock::EncoderBlock(const ModelConfig& config, const VitSize& size, const std::string& name)
    : norm1_(size.width),
      attention_(seeded(config.seed, name + ".attention",
                        [&](Stream& stream) {
                            return MultiHeadAttention(size.width, size.heads, stream,
                                                      {config.dropout, true, true});
                        })),
      norm2_(size.width),
      fc1_(linear(config.seed, name + ".fc1", size.width, size.mlp_ratio * size.width)),
      fc2_(linear(config.seed, name + ".fc2", size.mlp_ratio * size.width, size.width)),
      dropout_(config.dropout) {}

Var EncoderBlock::forward(const Var& x) {
    const Var y = x + dropout_.forward(attention_.forward(norm1_.forward(x)));
    const Var h = dropout_.forward(gelu_.forward(fc1_.forward(norm2_.forward(y))));
    return y + dropout_.forward(fc2_.forward(h));
}

void EncoderBlock::visit(Visitor& visitor) {
    visitor.module("norm1", norm1_);
    visitor.module("attention", attention_);
    visitor.module("norm2", norm2_);
    visitor.module("fc1", fc1_);
    visitor.module("gelu", gelu_);
    visitor.module("fc2", fc2_);
    visitor.module("dropout", dropout_);
}

Vit::Vit(const ModelConfig& config, const VitSize& size)
    : config_(config),
      patch_(vit_patch(config.height, config.width)),
      patch_embed_(
          linear(config.seed, "patch_embed", numel({config.channels, patch_, patch_}), size.width)),
      positions_(seeded(config.seed, "positions",
                        [&](Stream& stream) {
                            return truncated_normal({1, tokens(), size.width}, real(0.02), stream);
                        })),
      dropout_(config.dropout),
      norm_(size.width),
      head_(linear(config.seed, "head", size.width, config.classes)) {
    for (std::int64_t i = 0; i < size.blocks; ++i)
        blocks_.push_back(
            std::make_unique<EncoderBlock>(config, size, "blocks." + std::to_string(i)));
    head_.set_compressible(false);  // it sees one pooled vector, not tokens
}

Var Vit::forward(const Var& x) {
    require_images(x, config_, path());
    const TokenScope tokens(x.tape(), {config_.height / patch_, config_.width / patch_});
    Var h = patch_embed_.forward(patches(x, patch_));
    h = dropout_.forward(h + x.tape().parameter(positions_));
    for (const auto& block : blocks_) h = block->forward(h);
    return head_.forward(norm_.forward(mean(h, 1)));
}

void Vit::visit(Visitor& visitor) {
    visitor.module("patch_embed", patch_embed_);
    visitor.parameter("positions", positions_);
    visitor.module("dropout", dropout_);
    for (std::size_t i = 0; i < blocks_.size(); ++i)
        visitor.module("blocks." + std::to_string(i), *blocks_[i]);
    visitor.module("norm", norm_);
    visitor.module("head", head_);
}

std::vector<Module*> Vit::blocks() {
    std::vector<Module*> all;
    for (const auto& block : blocks_) all.push_back(block.get());
    return all;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
