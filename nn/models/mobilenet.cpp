#include "nn/models/mobilenet.h"

#include "autograd/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr std::int64_t stem_channels = 32, head_channels = 1280;

}  // namespace

MobileNetSize MobileNetSize::v2() {
    return {.stages = {{1, 16, 1, 1, 3},
                       {6, 24, 2, 2, 3},
                       {6, 32, 3, 2, 3},
                       {6, 64, 4, 2, 3},
                       {6, 96, 3, 1, 3},
                       {6, 160, 3, 2, 3},
                       {6, 320, 1, 1, 3}}};
}

MobileNetSize MobileNetSize::efficientnet_lite0() {
    return {.stages = {{1, 16, 1, 1, 3},
                       {6, 24, 2, 2, 3},
                       {6, 40, 2, 2, 5},
                       {6, 80, 3, 2, 3},
                       {6, 112, 3, 1, 5},
                       {6, 192, 4, 2, 5},
                       {6, 320, 1, 1, 3}},
            .epsilon = 1e-3,
            .momentum = 0.01,
            .same_padding = true};
}

InvertedResidual::InvertedResidual(const Options& o, const MobileNetSize& net, std::uint64_t seed,
                                   const std::string& name)
    : residual_(o.stride == 1 && o.in == o.out),
      pads_(net.same_padding && o.stride > 1),
      pad_(o.kernel, o.stride),
      depthwise_({.in = o.in * o.expand,
                  .out = o.in * o.expand,
                  .kernel = o.kernel,
                  .stride = o.stride,
                  .padding = pads_ ? 0 : o.kernel / 2,
                  .groups = o.in * o.expand,
                  .epsilon = net.epsilon,
                  .momentum = net.momentum},
                 seed, name + ".conv_dw"),
      project_({.in = o.in * o.expand,
                .out = o.out,
                .kernel = 1,
                .epsilon = net.epsilon,
                .momentum = net.momentum},
               seed, name + (o.expand > 1 ? ".conv_pwl" : ".conv_pw")),
      drop_path_(o.drop_path) {
    if (o.expand > 1)
        expand_.emplace(ConvNorm::Options{.in = o.in,
                                          .out = o.in * o.expand,
                                          .kernel = 1,
                                          .epsilon = net.epsilon,
                                          .momentum = net.momentum},
                        seed, name + ".conv_pw");
}

Var InvertedResidual::forward(const Var& x) {
    Var h = x;
    if (expand_) h = expand_->norm.forward_relu6(expand_->conv.forward(h));
    if (pads_) h = pad_.forward(h);
    h = depthwise_.norm.forward_relu6(depthwise_.conv.forward(h));
    h = project_.norm.forward(project_.conv.forward(h));
    return residual_ ? x + drop_path_.forward(h) : h;
}

void InvertedResidual::visit(Visitor& visitor) {
    int number = 1;
    const auto show = [&](const char* name, ConvNorm& step) {
        visitor.module(name, step.conv);
        visitor.module(fmt::format("bn{}", number++), step.norm);
    };
    if (expand_) show("conv_pw", *expand_);
    if (pads_) visitor.module("pad", pad_);
    show("conv_dw", depthwise_);
    show(expand_ ? "conv_pwl" : "conv_pw", project_);
    visitor.module("drop_path", drop_path_);
}

MobileNet::MobileNet(const MobileNetSize& size, const ModelConfig& config)
    : size_(size),
      pad_(3, 2),
      stem_({.in = config.channels,
             .out = stem_channels,
             .kernel = 3,
             .stride = 2,
             .padding = size.same_padding ? 0 : 1,
             .epsilon = size.epsilon,
             .momentum = size.momentum},
            config.seed, "conv_stem"),
      head_({.in = size.stages.back().channels,
             .out = head_channels,
             .kernel = 1,
             .epsilon = size.epsilon,
             .momentum = size.momentum},
            config.seed, "conv_head"),
      dropout_(config.dropout),
      classifier_(seeded(config.seed, "classifier", [&](Stream& stream) {
          return Linear(head_channels, config.classes, stream);
      })) {
    std::int64_t in = stem_channels, number = 0, all = 0;
    for (const MobileStage& stage : size.stages) all += stage.blocks;
    for (const MobileStage& stage : size.stages) {
        auto& blocks = stages_.emplace_back();
        for (std::int64_t i = 0; i < stage.blocks; ++i) {
            // The deeper a block, the likelier it is left out.
            const double drop =
                config.drop_path * static_cast<double>(number++) / static_cast<double>(all - 1);
            blocks.push_back(std::make_unique<InvertedResidual>(
                InvertedResidual::Options{in, stage.channels, stage.expand,
                                          i == 0 ? stage.stride : 1, stage.kernel, drop},
                size, config.seed, fmt::format("blocks.{}.{}", stages_.size() - 1, i)));
            in = stage.channels;
        }
    }
    classifier_.set_compressible(false);  // it sees one pooled vector, not tokens
}

Var MobileNet::forward(const Var& x) {
    require(x.value().ndim() == 4 && x.size(1) == stem_.conv.weight().value.size(1),
            "[{}] expected images (batch, {}, height, width), got {}", path(),
            stem_.conv.weight().value.size(1), shown(x.shape()));
    Var h = stem_.norm.forward_relu6(stem_.conv.forward(size_.same_padding ? pad_.forward(x) : x));
    for (const auto& stage : stages_)
        for (const auto& block : stage) h = block->forward(h);
    h = head_.norm.forward_relu6(head_.conv.forward(h));
    return classifier_.forward(dropout_.forward(pool_.forward(h)));
}

void MobileNet::visit(Visitor& visitor) {
    if (size_.same_padding) visitor.module("pad", pad_);
    visitor.module("conv_stem", stem_.conv);
    visitor.module("bn1", stem_.norm);
    for (std::size_t s = 0; s < stages_.size(); ++s)
        for (std::size_t i = 0; i < stages_[s].size(); ++i)
            visitor.module(fmt::format("blocks.{}.{}", s, i), *stages_[s][i]);
    visitor.module("conv_head", head_.conv);
    visitor.module("bn2", head_.norm);
    visitor.module("pool", pool_);
    visitor.module("dropout", dropout_);
    visitor.module("classifier", classifier_);
}

std::vector<Module*> MobileNet::blocks() {
    std::vector<Module*> all;
    for (const auto& stage : stages_)
        for (const auto& block : stage) all.push_back(block.get());
    return all;
}

std::vector<Alias> MobileNet::aliases() {
    // torchvision: "features" in a row; lukemelas' EfficientNet: one list of blocks with
    // underscores.
    std::vector<Alias> names{{"conv_stem.", {"features.0.0."}},
                             {"bn1.", {"features.0.1."}},
                             {"conv_head.", {"features.18.0."}},
                             {"bn2.", {"features.18.1."}},
                             {"classifier.", {"classifier.1."}},
                             {"conv_stem.", {"_conv_stem."}},
                             {"bn1.", {"_bn0."}},
                             {"conv_head.", {"_conv_head."}},
                             {"bn2.", {"_bn1."}},
                             {"classifier.", {"_fc."}}};
    int number = 0;
    for (std::size_t s = 0; s < stages_.size(); ++s)
        for (std::size_t i = 0; i < stages_[s].size(); ++i, ++number) {
            const std::string own = fmt::format("blocks.{}.{}.", s, i);
            const std::string vision = fmt::format("features.{}.conv.", number + 1);
            const std::string melas = fmt::format("_blocks.{}.", number);
            const auto add = [&](const char* layer, const std::string& theirs) {
                names.push_back({own + layer, {theirs}});
            };
            const bool expands = stages_[s][i]->expands();
            const char* const layers[] = {"conv_pw.", "bn1.",      "conv_dw.",
                                          "bn2.",     "conv_pwl.", "bn3."};
            const char* const narrow[] = {"", "", "conv_dw.", "bn1.", "conv_pw.", "bn2."};
            const char* const of_melas[] = {"_expand_conv.", "_bn0.",          "_depthwise_conv.",
                                            "_bn1.",         "_project_conv.", "_bn2."};
            for (int k = expands ? 0 : 2; k < 6; ++k) {
                const char* const layer = expands ? layers[k] : narrow[k];
                // The last convolution and its normalisation stand flat in the list.
                const int step = (expands ? k : k - 2) / 2;
                add(layer, k >= 4 ? fmt::format("{}{}.", vision, step + k % 2)
                                  : fmt::format("{}{}.{}.", vision, step, k % 2));
                add(layer, melas + of_melas[k]);
            }
        }
    return names;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
