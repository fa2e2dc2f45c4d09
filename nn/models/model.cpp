#include "nn/models/model.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "nn/linear_map.h"
#include "nn/models/efficientformer.h"
#include "nn/models/efficientformer_v2.h"
#include "nn/models/imagenet_resnet.h"
#include "nn/models/mlp.h"
#include "nn/models/mobilenet.h"
#include "nn/models/resnet.h"
#include "nn/models/swin.h"
#include "nn/models/vit.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

struct Entry {
    std::string name;
    std::int64_t side;  // of the images that it is made for
    std::unique_ptr<Module> (*make)(const ModelConfig&);
};

template <int depth>
std::unique_ptr<Module> resnet(const ModelConfig& config) {
    return std::make_unique<ResNet>(depth, config);
}

template <int depth>
std::unique_ptr<Module> imagenet_resnet(const ModelConfig& config) {
    return std::make_unique<ImageNetResNet>(depth, config);
}

/// As published, with a class token.
template <int width, int blocks, int heads, int patch>
std::unique_ptr<Module> vit(const ModelConfig& config) {
    return std::make_unique<Vit>(config, VitSize{.width = width,
                                                 .blocks = blocks,
                                                 .heads = heads,
                                                 .patch = patch,
                                                 .class_token = true,
                                                 .epsilon = 1e-6});
}

const std::vector<Entry>& models() {
    static const std::vector<Entry> all{
        {"mlp", 32,
         [](const ModelConfig& c) -> std::unique_ptr<Module> { return std::make_unique<Mlp>(c); }},
        {"vit-micro", 32,
         [](const ModelConfig& c) -> std::unique_ptr<Module> {
             return std::make_unique<Vit>(c, VitSize{.width = 96, .blocks = 4});
         }},
        {"vit-tiny", 32,
         [](const ModelConfig& c) -> std::unique_ptr<Module> {
             return std::make_unique<Vit>(c, VitSize{.width = 192, .blocks = 6});
         }},
        {"vit-ti16", 224, vit<192, 12, 3, 16>},
        {"deit-ti", 224, vit<192, 12, 3, 16>},
        {"vit-b16", 224, vit<768, 12, 12, 16>},
        {"vit-b32", 224, vit<768, 12, 12, 32>},
        {"swinv2-s", 256,
         [](const ModelConfig& c) -> std::unique_ptr<Module> {
             return std::make_unique<Swin>(SwinSize{}, c);
         }},
        {"efficientformer-l1", 224,
         [](const ModelConfig& c) -> std::unique_ptr<Module> {
             return std::make_unique<EfficientFormer>(c);
         }},
        {"efficientformerv2-s0", 224,
         [](const ModelConfig& c) -> std::unique_ptr<Module> {
             return std::make_unique<EfficientFormerV2>(c);
         }},
        {"resnet20", 32, resnet<20>},
        {"resnet32", 32, resnet<32>},
        {"resnet44", 32, resnet<44>},
        {"resnet56", 32, resnet<56>},
        {"resnet18", 224, imagenet_resnet<18>},
        {"resnet50", 224, imagenet_resnet<50>},
        {"mobilenetv2", 224,
         [](const ModelConfig& c) -> std::unique_ptr<Module> {
             return std::make_unique<MobileNet>(MobileNetSize::v2(), c);
         }},
        {"efficientnet-lite0", 224,
         [](const ModelConfig& c) -> std::unique_ptr<Module> {
             return std::make_unique<MobileNet>(MobileNetSize::efficientnet_lite0(), c);
         }},
    };
    return all;
}

const Entry& entry_of(const std::string& name) {
    const auto found = std::ranges::find(models(), name, &Entry::name);
    require(found != models().end(), "[model] unknown model '{}'; known: {}", name,
            fmt::join(model_names(), ", "));
    return *found;
}

}  // namespace

std::vector<std::string> BlockModel::heads() {
    const std::vector<LinearMap*> maps = linear_maps(*this);
    if (maps.empty()) return {};
    return {maps.back()->path() + "."};
}

std::vector<std::string> model_names() {
    std::vector<std::string> names;
    for (const Entry& entry : models()) names.push_back(entry.name);
    return names;
}

std::unique_ptr<Module> make_model(const std::string& name, const ModelConfig& config) {
    constexpr std::int64_t most = 1 << 24;
    for (const std::int64_t size : {config.channels, config.height, config.width, config.classes})
        require(size >= 1 && size <= most,
                "[model] expected sizes from 1 to {}, got images ({}, {}, {}) and {} classes", most,
                config.channels, config.height, config.width, config.classes);
    std::unique_ptr<Module> model = entry_of(name).make(config);
    name_modules(*model);
    return model;
}

std::int64_t usual_side(const std::string& name) { return entry_of(name).side; }

void select_train_blocks(Module& model, const std::string& selection) {
    if (selection == "all") return set_requires_grad(model, true);

    auto* chain = dynamic_cast<BlockModel*>(&model);
    const std::vector<Module*> blocks = chain ? chain->blocks() : std::vector<Module*>();
    std::size_t last = 0;
    const bool is_last = selection.starts_with("last:");
    const char* end = selection.data() + selection.size();
    const auto parsed = std::from_chars(selection.data() + (is_last ? 5 : 0), end, last);
    require(is_last && parsed.ec == std::errc() && parsed.ptr == end && last >= 1 &&
                last <= blocks.size(),
            "[model] expected train blocks 'all' or 'last:K' with K from 1 to {}, got '{}'",
            blocks.size(), selection);

    const std::vector<Parameter*> selected = parameters(*blocks[blocks.size() - last]);
    require(!selected.empty(), "[model] block {} has no parameters to begin with",
            blocks.size() - last);
    const Parameter* first = selected.front();
    bool trained = false;
    for (Parameter* parameter : parameters(model)) {
        trained = trained || parameter == first;
        parameter->requires_grad = trained;
    }
}

void require_images(const Var& x, const ModelConfig& config, const std::string& model) {
    require(x.value().ndim() == 4 && x.size(1) == config.channels && x.size(2) == config.height &&
                x.size(3) == config.width,
            "[{}] expected images (batch, {}, {}, {}), got {}", model, config.channels,
            config.height, config.width, shown(x.shape()));
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
