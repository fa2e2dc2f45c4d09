#include "nn/models/efficientformer.h"

#include <algorithm>
#include <array>

#include "autograd/ops.h"
#include "nn/distance_bias.h"
#include "nn/scaled_dot_product.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr std::int64_t heads_of_attention = 8, key_width = 32, value_width = 128;
constexpr std::array<std::int64_t, 4> widths{48, 96, 224, 448}, depths{3, 2, 6, 4};

Linear linear(const ModelConfig& config, const std::string& name, std::int64_t in,
              std::int64_t out) {
    return seeded(config.seed, name, [=](Stream& stream) { return Linear(in, out, stream); });
}

/// (B, C, H, W) -> (B, H · W, C).
Var as_tokens(const Var& x) {
    return transpose(reshape(x, {x.size(0), x.size(1), x.size(2) * x.size(3)}), {0, 2, 1});
}

ConvNorm::Options convolution(std::int64_t in, std::int64_t out, std::int64_t kernel,
                              std::int64_t stride) {
    return {.in = in, .out = out, .kernel = kernel, .stride = stride, .bias = true};
}

}  // namespace

BiasedAttention::BiasedAttention(std::int64_t width, std::int64_t rows, std::int64_t columns,
                                 Stream& stream)
    : rows_(rows),
      columns_(columns),
      attention_biases_(Tensor::zeros({heads_of_attention, rows * columns})),
      qkv_(width, heads_of_attention * (2 * key_width + value_width), stream),
      proj_(heads_of_attention * value_width, width, stream) {
    proj_.set_attention_output(true);
}

Var BiasedAttention::forward(const Var& x) {
    const Var bias =
        distance_bias(path() + ".bias", x.tape().parameter(attention_biases_), {rows_, columns_});
    return proj_.forward(scaled_dot_product_attention(
        path(), {qkv_.forward(x)}, &bias,
        {.heads = heads_of_attention, .key_width = key_width, .by_head = true}));
}

void BiasedAttention::visit(Visitor& visitor) {
    visitor.parameter("attention_biases", attention_biases_);
    visitor.module("qkv", qkv_);
    visitor.module("proj", proj_);
}

EfficientFormerBlock::EfficientFormerBlock(const Options& o, const ModelConfig& config,
                                           const std::string& name)
    : ls1_(o.width), ls2_(o.width), dropout_(config.dropout), drop_path_(o.drop_path) {
    if (o.attention) {
        const auto mixer = [&](Stream& stream) {
            return BiasedAttention(o.width, o.rows, o.columns, stream);
        };
        tokens_.reset(new OnTokens{
            LayerNorm(o.width), seeded(config.seed, name + ".token_mixer", mixer),
            LayerNorm(o.width), linear(config, name + ".mlp.fc1", o.width, 4 * o.width),
            linear(config, name + ".mlp.fc2", 4 * o.width, o.width)});
        return;
    }
    images_.reset(new OnImages{
        AvgPool2d({.kernel = 3, .stride = 1, .padding = 1, .count_include_pad = false}),
        ConvNorm(convolution(o.width, 4 * o.width, 1, 1), config.seed, name + ".mlp.fc1"),
        ConvNorm(convolution(4 * o.width, o.width, 1, 1), config.seed, name + ".mlp.fc2")});
}

Var EfficientFormerBlock::forward(const Var& x) {
    const auto add = [&](const Var& to, LayerScale& scale, const Var& branch) {
        return to + drop_path_.forward(scale.forward(branch));
    };
    if (tokens_) {
        OnTokens& t = *tokens_;
        const Var y = add(x, ls1_, t.mixer.forward(t.norm1.forward(x)));
        const Var h = dropout_.forward(gelu_.forward(t.fc1.forward(t.norm2.forward(y))));
        return add(y, ls2_, dropout_.forward(t.fc2.forward(h)));
    }
    OnImages& m = *images_;
    const Var y = add(x, ls1_, m.pool.forward(x) - x);
    const Var h = dropout_.forward(gelu_.forward(m.fc1.norm.forward(m.fc1.conv.forward(y))));
    return add(y, ls2_, dropout_.forward(m.fc2.norm.forward(m.fc2.conv.forward(h))));
}

void EfficientFormerBlock::visit(Visitor& visitor) {
    if (tokens_) {
        visitor.module("norm1", tokens_->norm1);
        visitor.module("token_mixer", tokens_->mixer);
        visitor.module("ls1", ls1_);
        visitor.module("norm2", tokens_->norm2);
        visitor.module("mlp.fc1", tokens_->fc1);
        visitor.module("gelu", gelu_);
        visitor.module("mlp.fc2", tokens_->fc2);
    } else {
        visitor.module("token_mixer", images_->pool);
        visitor.module("ls1", ls1_);
        visitor.module("mlp.fc1", images_->fc1.conv);
        visitor.module("mlp.norm1", images_->fc1.norm);
        visitor.module("gelu", gelu_);
        visitor.module("mlp.fc2", images_->fc2.conv);
        visitor.module("mlp.norm2", images_->fc2.norm);
    }
    visitor.module("ls2", ls2_);
    visitor.module("dropout", dropout_);
    visitor.module("drop_path", drop_path_);
}

EfficientFormer::EfficientFormer(const ModelConfig& config)
    : config_(config),
      stem1_(convolution(config.channels, widths[0] / 2, 3, 2), config.seed, "stem.conv1"),
      stem2_(convolution(widths[0] / 2, widths[0], 3, 2), config.seed, "stem.conv2"),
      norm_(widths.back()),
      head_(linear(config, "head", widths.back(), config.classes)),
      head_dist_(linear(config, "head_dist", widths.back(), config.classes)) {
    require(config.height >= 32 && config.width >= 32,
            "[efficientformer] expected images of at least 32x32, got {}x{}", config.height,
            config.width);
    const auto halved = [](std::int64_t side) { return (side + 1) / 2; };
    rows_ = halved(halved(config.height));
    columns_ = halved(halved(config.width));
    std::int64_t number = 0;
    for (std::size_t s = 0; s < widths.size(); ++s) {
        const std::string name = fmt::format("stages.{}.", s);
        Stage& stage = stages_.emplace_back();
        if (s > 0) {
            stage.downsample = std::make_unique<ConvNorm>(
                convolution(widths[s - 1], widths[s], 3, 2), config.seed, name + "downsample.conv");
            stage.downsample->conv.set_compressible(false);  // nor does the paper
            rows_ = halved(rows_);
            columns_ = halved(columns_);
        }
        for (std::int64_t i = 0; i < depths[s]; ++i) {
            // The deeper a block, the likelier it is left out.
            const double drop = config.drop_path * static_cast<double>(number++) / 14;
            const bool last = s + 1 == widths.size() && i + 1 == depths[s];
            stage.blocks.push_back(std::make_unique<EfficientFormerBlock>(
                EfficientFormerBlock::Options{widths[s], rows_, columns_, last, drop}, config,
                name + fmt::format("blocks.{}", i)));
        }
    }
    for (ConvNorm* stem : {&stem1_, &stem2_}) stem->conv.set_compressible(false);
    for (Linear* head : {&head_, &head_dist_}) head->set_compressible(false);
}

Var EfficientFormer::forward(const Var& x) {
    require_images(x, config_, path());
    Var h = stem1_.norm.forward_relu(stem1_.conv.forward(x));
    h = stem2_.norm.forward_relu(stem2_.conv.forward(h));
    for (Stage& stage : stages_) {
        if (stage.downsample) h = stage.downsample->norm.forward(stage.downsample->conv.forward(h));
        for (const auto& block : stage.blocks) {
            const bool last = &stage == &stages_.back() && block == stage.blocks.back();
            if (!last) {
                h = block->forward(h);
                continue;
            }
            const TokenScope tokens(x.tape(), {rows_, columns_});
            h = block->forward(as_tokens(h));
        }
    }
    const Var pooled = mean(norm_.forward(h), 1);
    return real(0.5) * (head_.forward(pooled) + head_dist_.forward(pooled));
}

void EfficientFormer::visit(Visitor& visitor) {
    visitor.module("stem.conv1", stem1_.conv);
    visitor.module("stem.norm1", stem1_.norm);
    visitor.module("stem.conv2", stem2_.conv);
    visitor.module("stem.norm2", stem2_.norm);
    for (std::size_t s = 0; s < stages_.size(); ++s) {
        const std::string name = fmt::format("stages.{}.", s);
        if (stages_[s].downsample) {
            visitor.module(name + "downsample.conv", stages_[s].downsample->conv);
            visitor.module(name + "downsample.norm", stages_[s].downsample->norm);
        }
        for (std::size_t i = 0; i < stages_[s].blocks.size(); ++i) {
            // timm has a place for the change to tokens, before the last block.
            const bool last = s + 1 == stages_.size() && i + 1 == stages_[s].blocks.size();
            visitor.module(name + fmt::format("blocks.{}", last ? i + 1 : i),
                           *stages_[s].blocks[i]);
        }
    }
    visitor.module("norm", norm_);
    visitor.module("head", head_);
    visitor.module("head_dist", head_dist_);
}

std::vector<Module*> EfficientFormer::blocks() {
    std::vector<Module*> all;
    for (const Stage& stage : stages_)
        for (const auto& block : stage.blocks) all.push_back(block.get());
    return all;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
