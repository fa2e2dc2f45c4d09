#include "nn/models/imagenet_resnet.h"

#include <map>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// The number of blocks in each stage.
std::vector<std::int64_t> stages_of(std::int64_t depth) {
    static const std::map<std::int64_t, std::vector<std::int64_t>> known{{18, {2, 2, 2, 2}},
                                                                         {34, {3, 4, 6, 3}},
                                                                         {50, {3, 4, 6, 3}},
                                                                         {101, {3, 4, 23, 3}},
                                                                         {152, {3, 8, 36, 3}}};
    const auto found = known.find(depth);
    require(found != known.end(), "[resnet] expected a depth of 18, 34, 50, 101 or 152, got {}",
            depth);
    return found->second;
}

}  // namespace

ImageNetBlock::ImageNetBlock(const Options& o, std::uint64_t seed, const std::string& name) {
    const auto add = [&](std::int64_t in, std::int64_t out, std::int64_t kernel,
                         std::int64_t stride) {
        branch_.push_back(std::make_unique<ConvNorm>(
            ConvNorm::Options{.in = in, .out = out, .kernel = kernel, .stride = stride}, seed,
            fmt::format("{}.conv{}", name, branch_.size() + 1)));
    };
    const std::int64_t inner = o.bottleneck ? o.out / 4 : o.out;
    if (o.bottleneck) add(o.in, inner, 1, 1);
    add(o.bottleneck ? inner : o.in, inner, 3, o.stride);
    add(inner, o.out, o.bottleneck ? 1 : 3, 1);
    if (o.stride == 1 && o.in == o.out) return;
    downsample_ = std::make_unique<ConvNorm>(
        ConvNorm::Options{.in = o.in, .out = o.out, .kernel = 1, .stride = o.stride}, seed,
        name + ".downsample.0");
    downsample_->conv.set_compressible(false);  // nor does the paper
}

Var ImageNetBlock::forward(const Var& x) {
    Var h = x;
    for (std::size_t i = 0; i + 1 < branch_.size(); ++i)
        h = branch_[i]->norm.forward_relu(branch_[i]->conv.forward(h));
    h = branch_.back()->conv.forward(h);
    const Var shortcut = downsample_ ? downsample_->norm.forward(downsample_->conv.forward(x)) : x;
    return branch_.back()->norm.forward_relu(h, shortcut);
}

void ImageNetBlock::visit(Visitor& visitor) {
    for (std::size_t i = 0; i < branch_.size(); ++i) {
        visitor.module(fmt::format("conv{}", i + 1), branch_[i]->conv);
        visitor.module(fmt::format("bn{}", i + 1), branch_[i]->norm);
    }
    if (!downsample_) return;
    visitor.module("downsample.0", downsample_->conv);
    visitor.module("downsample.1", downsample_->norm);
}

ImageNetResNet::ImageNetResNet(std::int64_t depth, const ModelConfig& config)
    : bottleneck_(depth >= 50),
      stem_({.in = config.channels, .out = 64, .kernel = 7, .stride = 2}, config.seed, "conv1"),
      maxpool_({.kernel = 3, .stride = 2, .padding = 1}),
      fc_(seeded(config.seed, "fc", [&](Stream& stream) {
          return Linear(bottleneck_ ? 2048 : 512, config.classes, stream);
      })) {
    std::int64_t in = 64, width = 64;
    for (const std::int64_t blocks : stages_of(depth)) {
        Sequential& stage = *layers_.emplace_back(std::make_unique<Sequential>());
        const std::int64_t out = bottleneck_ ? 4 * width : width;
        for (std::int64_t i = 0; i < blocks; ++i) {
            stage.add<ImageNetBlock>(
                ImageNetBlock::Options{in, out, i == 0 && width > 64 ? 2 : 1, bottleneck_},
                config.seed, fmt::format("layer{}.{}", layers_.size(), i));
            in = out;
        }
        width *= 2;
    }
    fc_.set_compressible(false);  // it sees one pooled vector, not tokens
}

Var ImageNetResNet::forward(const Var& x) {
    require(x.value().ndim() == 4 && x.size(1) == stem_.conv.weight().value.size(1),
            "[{}] expected images (batch, {}, height, width), got {}", path(),
            stem_.conv.weight().value.size(1), shown(x.shape()));
    Var h = maxpool_.forward(stem_.norm.forward_relu(stem_.conv.forward(x)));
    for (const auto& layer : layers_) h = layer->forward(h);
    return fc_.forward(pool_.forward(h));
}

void ImageNetResNet::visit(Visitor& visitor) {
    visitor.module("conv1", stem_.conv);
    visitor.module("bn1", stem_.norm);
    visitor.module("maxpool", maxpool_);
    for (std::size_t i = 0; i < layers_.size(); ++i)
        visitor.module(fmt::format("layer{}", i + 1), *layers_[i]);
    visitor.module("pool", pool_);
    visitor.module("fc", fc_);
}

std::vector<Module*> ImageNetResNet::blocks() {
    std::vector<Module*> all;
    for (const auto& layer : layers_)
        for (std::size_t i = 0; i < layer->size(); ++i) all.push_back(&(*layer)[i]);
    return all;
}

std::vector<Alias> ImageNetResNet::aliases() {
    // Hugging Face's names; those of torchvision and timm are ours.
    std::vector<Alias> names{{"conv1.", {"resnet.embedder.embedder.convolution."}},
                             {"bn1.", {"resnet.embedder.embedder.normalization."}},
                             {"fc.", {"classifier.1."}}};
    for (std::size_t s = 0; s < layers_.size(); ++s)
        for (std::size_t b = 0; b < layers_[s]->size(); ++b) {
            const std::string own = fmt::format("layer{}.{}.", s + 1, b);
            const std::string theirs = fmt::format("resnet.encoder.stages.{}.layers.{}.", s, b);
            const auto add = [&](const std::string& conv, const std::string& norm,
                                 const std::string& place) {
                names.push_back({own + conv, {theirs + place + "convolution."}});
                names.push_back({own + norm, {theirs + place + "normalization."}});
            };
            for (int i = 0; i < (bottleneck_ ? 3 : 2); ++i)
                add(fmt::format("conv{}.", i + 1), fmt::format("bn{}.", i + 1),
                    fmt::format("layer.{}.", i));
            add("downsample.0.", "downsample.1.", "shortcut.");
        }
    add_without_prefix(names, "resnet.");
    return names;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
