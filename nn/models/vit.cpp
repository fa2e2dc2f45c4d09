#include "nn/models/vit.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "nn/init.h"
#include "nn/models/patches.h"
#include "nn/models/resize.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

Linear linear(std::uint64_t seed, const std::string& name, std::int64_t in, std::int64_t out) {
    return seeded(seed, name, [=](Stream& stream) { return Linear(in, out, stream); });
}

std::int64_t patch_of(const VitSize& size, const ModelConfig& config) {
    if (size.patch == 0) return vit_patch(config.height, config.width);
    require(config.height % size.patch == 0 && config.width % size.patch == 0,
            "[vit] expected images whose sides are multiples of {}, got {}x{}", size.patch,
            config.height, config.width);
    return size.patch;
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

EncoderBlock::EncoderBlock(const ModelConfig& config, const VitSize& size, const std::string& name,
                           double drop_path)
    : norm1_(size.width, size.epsilon),
      attention_(seeded(config.seed, name + ".attention",
                        [&](Stream& stream) {
                            return MultiHeadAttention(size.width, size.heads, stream,
                                                      {config.dropout, true, true});
                        })),
      norm2_(size.width, size.epsilon),
      fc1_(linear(config.seed, name + ".fc1", size.width, size.mlp_ratio * size.width)),
      fc2_(linear(config.seed, name + ".fc2", size.mlp_ratio * size.width, size.width)),
      dropout_(config.dropout),
      drop_path_(drop_path) {}

Var EncoderBlock::forward(const Var& x) {
    const Var y = x + drop_path_.forward(dropout_.forward(attention_.forward(norm1_.forward(x))));
    const Var h = dropout_.forward(gelu_.forward(fc1_.forward(norm2_.forward(y))));
    return y + drop_path_.forward(dropout_.forward(fc2_.forward(h)));
}

void EncoderBlock::visit(Visitor& visitor) {
    visitor.module("norm1", norm1_);
    visitor.module("attention", attention_);
    visitor.module("norm2", norm2_);
    visitor.module("fc1", fc1_);
    visitor.module("gelu", gelu_);
    visitor.module("fc2", fc2_);
    visitor.module("dropout", dropout_);
    visitor.module("drop_path", drop_path_);
}

Vit::Vit(const ModelConfig& config, const VitSize& size)
    : config_(config),
      patch_(patch_of(size, config)),
      patch_embed_(
          linear(config.seed, "patch_embed", numel({config.channels, patch_, patch_}), size.width)),
      class_token_(size.class_token ? Parameter(Tensor::zeros({1, 1, size.width})) : Parameter()),
      positions_(seeded(config.seed, "positions",
                        [&](Stream& stream) {
                            return truncated_normal({1, tokens(), size.width}, real(0.02), stream);
                        })),
      dropout_(config.dropout),
      norm_(size.width, size.epsilon),
      head_(linear(config.seed, "head", size.width, config.classes)) {
    for (std::int64_t i = 0; i < size.blocks; ++i) {
        // The deeper a block, the likelier it is left out.
        const double drop = config.drop_path * static_cast<double>(i) /
                            static_cast<double>(std::max<std::int64_t>(size.blocks - 1, 1));
        blocks_.push_back(
            std::make_unique<EncoderBlock>(config, size, "blocks." + std::to_string(i), drop));
    }
    head_.set_compressible(false);  // it sees one pooled vector, not tokens
}

Var Vit::forward(const Var& x) {
    require_images(x, config_, path());
    Tape& tape = x.tape();
    const std::int64_t rows = config_.height / patch_, columns = config_.width / patch_;
    Var h;
    {
        const TokenScope tokens(tape, {rows, columns});
        h = patch_embed_.forward(patches(x, patch_));
    }
    const TokenScope tokens(tape, {rows, columns, class_token() ? 1 : 0});
    if (class_token()) {
        const Var each = tape.constant(Tensor::zeros({x.size(0), 1, h.size(2)}));
        h = concat({each + tape.parameter(class_token_), h}, 1);
    }
    h = dropout_.forward(h + tape.parameter(positions_));
    for (const auto& block : blocks_) h = block->forward(h);
    // LayerNorm is of each token, so that of the others would be for nothing.
    const Var pooled =
        class_token() ? reshape(slice(h, 1, 0, 1), {x.size(0), h.size(2)}) : mean(h, 1);
    return head_.forward(norm_.forward(pooled));
}

void Vit::visit(Visitor& visitor) {
    visitor.module("patch_embed", patch_embed_);
    if (class_token()) visitor.parameter("class_token", class_token_);
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

Tensor Vit::resized(const std::string& name, const Tensor& of_file) {
    const std::int64_t extra = class_token() ? 1 : 0, width = positions_.value.size(2);
    if (name != "positions" || of_file.ndim() != 3 || of_file.size(0) != 1 ||
        of_file.size(2) != width)
        return {};
    const std::int64_t cells = of_file.size(1) - extra;
    if (cells < 1) return {};
    const auto side = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(cells))));
    if (side * side != cells) return {};
    Tensor resized(positions_.value.shape());
    std::copy_n(of_file.data(), extra * width, resized.data());
    resize_bicubic({side, side, width}, of_file.data() + extra * width, config_.height / patch_,
                   config_.width / patch_, resized.data() + extra * width);
    return resized;
}

std::vector<Alias> Vit::aliases() {
    // In turn: timm, torchvision, Hugging Face.
    std::vector<Alias> names{
        {"patch_embed.", {"patch_embed.proj."}},
        {"patch_embed.", {"conv_proj."}},
        {"patch_embed.", {"vit.embeddings.patch_embeddings.projection."}},
        {"class_token", {"cls_token"}},
        {"class_token", {"vit.embeddings.cls_token"}},
        {"positions", {"pos_embed"}},
        {"positions", {"encoder.pos_embedding"}},
        {"positions", {"vit.embeddings.position_embeddings"}},
        {"norm.", {"encoder.ln."}},
        {"norm.", {"vit.layernorm."}},
        {"head.", {"heads.head."}},
        {"head.", {"classifier."}},
    };
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
        const std::string own = fmt::format("blocks.{}.", i);
        const std::string vision = fmt::format("encoder.layers.encoder_layer_{}.", i);
        const std::string face = fmt::format("vit.encoder.layer.{}.", i);
        const auto add = [&](const char* layer, const std::string& timms, const char* visions,
                             const std::vector<const char*>& faces) {
            names.push_back({own + layer, {own + timms}});
            names.push_back({own + layer, {vision + visions}});
            std::vector<std::string> parts;
            for (const char* part : faces) parts.push_back(face + part);
            names.push_back({own + layer, std::move(parts)});
        };
        add("norm1.", "norm1.", "ln_1.", {"layernorm_before."});
        add("attention.qkv.", "attn.qkv.", "self_attention.in_proj_",
            {"attention.attention.query.", "attention.attention.key.",
             "attention.attention.value."});
        add("attention.proj.", "attn.proj.", "self_attention.out_proj.",
            {"attention.output.dense."});
        add("norm2.", "norm2.", "ln_2.", {"layernorm_after."});
        add("fc1.", "mlp.fc1.", "mlp.0.", {"intermediate.dense."});
        add("fc2.", "mlp.fc2.", "mlp.3.", {"output.dense."});
        // torchvision's first weights
        names.push_back({own + "fc1.", {vision + "mlp.linear_1."}});
        names.push_back({own + "fc2.", {vision + "mlp.linear_2."}});
    }
    add_without_prefix(names, "vit.");
    return names;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
