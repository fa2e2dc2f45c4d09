#include "nn/models/swin.h"

#include <algorithm>
#include <numeric>

#include "autograd/ops.h"
#include "nn/models/patches.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr std::int64_t patch = 4;

Linear linear(const ModelConfig& config, const std::string& name, std::int64_t in, std::int64_t out,
              bool bias = true) {
    return seeded(config.seed, name, [=](Stream& stream) { return Linear(in, out, stream, bias); });
}

/// Four neighbours of a grid as one token: (B, rows · columns, C) -> (B, a quarter, 4 C), whose
/// columns are those above and below on the left, then those on the right.
Var merged(const Var& x, std::int64_t rows, std::int64_t columns) {
    const std::int64_t batch = x.size(0), width = x.size(2);
    const Var cut = reshape(x, {batch, rows / 2, 2, columns / 2, 2, width});
    return reshape(transpose(cut, {0, 1, 3, 4, 2, 5}),
                   {batch, rows / 2 * (columns / 2), 4 * width});
}

Windows windows_of(std::int64_t rows, std::int64_t columns, std::int64_t side, bool shifted) {
    // A window is no larger than the grid, and then there is nothing to shift to.
    const std::int64_t fitting = std::min({side, rows, columns});
    require(rows % fitting == 0 && columns % fitting == 0,
            "[swin] expected windows of {} tokens a side to fill a grid of {}x{}. Hint: images "
            "whose sides are multiples of {}",
            fitting, rows, columns, 32 * side);
    const bool larger = rows > fitting || columns > fitting;
    return {rows, columns, fitting, shifted && larger ? fitting / 2 : 0};
}

}  // namespace

SwinBlock::SwinBlock(std::int64_t width, std::int64_t heads, const Windows& windows,
                     double drop_path, const ModelConfig& config, const std::string& name)
    : attention_(
          seeded(config.seed, name + ".attn",
                 [&](Stream& stream) { return WindowAttention(width, heads, windows, stream); })),
      norm1_(width),
      fc1_(linear(config, name + ".mlp.fc1", width, 4 * width)),
      fc2_(linear(config, name + ".mlp.fc2", 4 * width, width)),
      norm2_(width),
      dropout_(config.dropout),
      drop_path_(drop_path) {}

Var SwinBlock::forward(const Var& x) {
    const Var y = x + drop_path_.forward(norm1_.forward(attention_.forward(x)));
    const Var h = dropout_.forward(gelu_.forward(fc1_.forward(y)));
    return y + drop_path_.forward(norm2_.forward(dropout_.forward(fc2_.forward(h))));
}

void SwinBlock::visit(Visitor& visitor) {
    visitor.module("attn", attention_);
    visitor.module("norm1", norm1_);
    visitor.module("mlp.fc1", fc1_);
    visitor.module("gelu", gelu_);
    visitor.module("mlp.fc2", fc2_);
    visitor.module("norm2", norm2_);
    visitor.module("dropout", dropout_);
    visitor.module("drop_path", drop_path_);
}

Swin::Swin(const SwinSize& size, const ModelConfig& config)
    : config_(config),
      patch_embed_(linear(config, "patch_embed.proj", config.channels * patch * patch, size.width)),
      patch_norm_(size.width),
      norm_(size.width << (size.blocks.size() - 1)),
      head_(linear(config, "head.fc", size.width << (size.blocks.size() - 1), config.classes)) {
    const std::int64_t merges = patch << (size.blocks.size() - 1);
    require(config.height % merges == 0 && config.width % merges == 0,
            "[swin] expected images whose sides are multiples of {}, got {}x{}", merges,
            config.height, config.width);
    const auto all = std::accumulate(size.blocks.begin(), size.blocks.end(), std::int64_t{0});
    std::int64_t rows = config.height / patch, columns = config.width / patch, number = 0;
    for (std::size_t s = 0; s < size.blocks.size(); ++s) {
        const std::int64_t width = size.width << s;
        const std::string name = fmt::format("layers.{}.", s);
        Stage& stage = stages_.emplace_back();
        if (s > 0) {
            stage.reduction = std::unique_ptr<Linear>(
                new Linear(linear(config, name + "downsample.reduction", 2 * width, width, false)));
            stage.reduction->set_compressible(false);  // as the paper's
            stage.norm = std::make_unique<LayerNorm>(width);
            rows /= 2;
            columns /= 2;
        }
        stage.rows = rows;
        stage.columns = columns;
        for (std::int64_t i = 0; i < size.blocks[s]; ++i) {
            // The deeper a block, the likelier it is left out.
            const double drop = config.drop_path * static_cast<double>(number++) /
                                static_cast<double>(std::max<std::int64_t>(all - 1, 1));
            stage.blocks.push_back(std::make_unique<SwinBlock>(
                width, size.heads.at(s), windows_of(rows, columns, size.window, i % 2 == 1), drop,
                config, name + fmt::format("blocks.{}", i)));
        }
    }
    head_.set_compressible(false);  // it sees one pooled vector, not tokens
}

Var Swin::forward(const Var& x) {
    require_images(x, config_, path());
    Var h;
    for (Stage& stage : stages_) {
        const TokenScope tokens(x.tape(), {stage.rows, stage.columns});
        if (!stage.reduction)
            h = patch_norm_.forward(patch_embed_.forward(patches(x, patch)));
        else
            h = stage.norm->forward(
                stage.reduction->forward(merged(h, 2 * stage.rows, 2 * stage.columns)));
        for (const auto& block : stage.blocks) h = block->forward(h);
    }
    return head_.forward(mean(norm_.forward(h), 1));
}

void Swin::visit(Visitor& visitor) {
    visitor.module("patch_embed.proj", patch_embed_);
    visitor.module("patch_embed.norm", patch_norm_);
    for (std::size_t s = 0; s < stages_.size(); ++s) {
        const std::string name = fmt::format("layers.{}.", s);
        if (stages_[s].reduction) {
            visitor.module(name + "downsample.reduction", *stages_[s].reduction);
            visitor.module(name + "downsample.norm", *stages_[s].norm);
        }
        for (std::size_t i = 0; i < stages_[s].blocks.size(); ++i)
            visitor.module(name + fmt::format("blocks.{}", i), *stages_[s].blocks[i]);
    }
    visitor.module("norm", norm_);
    visitor.module("head.fc", head_);
}

std::vector<Module*> Swin::blocks() {
    std::vector<Module*> all;
    for (const Stage& stage : stages_)
        for (const auto& block : stage.blocks) all.push_back(block.get());
    return all;
}

std::vector<Alias> Swin::aliases() {
    // Hugging Face's names; those of timm are ours.
    const std::string root = "swinv2.";
    std::vector<Alias> names{
        {"patch_embed.proj.", {root + "embeddings.patch_embeddings.projection."}},
        {"patch_embed.norm.", {root + "embeddings.norm."}},
        {"norm.", {root + "layernorm."}},
        {"head.fc.", {"classifier."}},
    };
    for (std::size_t s = 0; s < stages_.size(); ++s) {
        const std::string own = fmt::format("layers.{}.", s);
        // There the merging stands at the end of the stage before.
        if (s > 0)
            names.push_back({own + "downsample.",
                             {root + fmt::format("encoder.layers.{}.downsample.", s - 1)}});
        for (std::size_t i = 0; i < stages_[s].blocks.size(); ++i) {
            const std::string mine = own + fmt::format("blocks.{}.", i);
            const std::string theirs = root + fmt::format("encoder.layers.{}.blocks.{}.", s, i),
                              self = "attention.self.";
            const auto add = [&](const char* layer, std::vector<std::string> parts) {
                for (std::string& part : parts) part = theirs + part;
                names.push_back({mine + layer, std::move(parts)});
            };
            add("attn.qkv.", {self + "query.", self + "key.", self + "value."});
            add("attn.q_bias", {self + "query.bias"});
            add("attn.v_bias", {self + "value.bias"});
            add("attn.logit_scale", {self + "logit_scale"});
            add("attn.cpb_mlp.", {self + "continuous_position_bias_mlp."});
            add("attn.proj.", {"attention.output.dense."});
            add("norm1.", {"layernorm_before."});
            add("mlp.fc1.", {"intermediate.dense."});
            add("mlp.fc2.", {"output.dense."});
            add("norm2.", {"layernorm_after."});
        }
    }
    return names;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
