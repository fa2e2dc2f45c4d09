#include "instant/cost/architectures.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "tensor/checked.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// The first block that trains; -1, the stem, if all do.
std::int64_t first_trained(const std::string& selection, std::int64_t blocks) {
    if (selection == "all") return -1;
    std::int64_t last = 0;
    const bool is_last = selection.starts_with("last:");
    const char* end = selection.data() + selection.size();
    const auto parsed = std::from_chars(selection.data() + (is_last ? 5 : 0), end, last);
    require(is_last && parsed.ec == std::errc() && parsed.ptr == end && last >= 1 && last <= blocks,
            "[cost] expected train blocks 'all' or 'last:K' with K from 1 to {}, got '{}'", blocks,
            selection);
    return blocks - last;
}

/// Collects the layers of a network, block after block, that train.
class Layers {
  public:
    explicit Layers(std::int64_t first) : first_(first) {}

    /// What is added from here on belongs to this block; -1 is the stem.
    void block(std::int64_t index) { block_ = index; }
    /// `reads_input`: the layer reads what the block reads, so nothing below the first trained
    /// block needs its g_x. (With all blocks trained the embeddings below block 0 train too.)
    void add(LinearShape layer, bool reads_input) {
        if (block_ < first_) return;
        layer.needs_gx = block_ > first_ || !reads_input;
        layers.push_back(std::move(layer));
    }

    std::vector<LinearShape> layers;

  private:
    std::int64_t first_, block_ = -1;
};

/// A transformer's blocks.
struct Encoder {
    const char* name;
    std::int64_t blocks, tokens, width, hidden;
    std::int64_t kv;    // width of K and of V
    bool fused, gated;  // one product for Q, K and V; two products into the MLP
    bool patches = false;
};
constexpr Encoder encoders[] = {
    {"bert-base", 12, 512, 768, 3072, 768, false, false},
    {"distilbert", 6, 512, 768, 3072, 768, false, false},
    {"minilm-l6", 6, 512, 384, 1536, 384, false, false},
    {"bert-small", 4, 512, 512, 2048, 512, false, false},
    {"bert-tiny", 2, 512, 128, 512, 128, false, false},
    {"vit-b32", 12, 50, 768, 3072, 768, true, false, true},
    {"tinyllama", 22, 512, 2048, 5632, 256, false, true},
};

std::vector<LinearShape> transformer(const Encoder& e, std::int64_t tokens,
                                     const std::string& train_blocks) {
    Layers result(first_trained(train_blocks, e.blocks));
    for (std::int64_t block = 0; block < e.blocks; ++block) {
        result.block(block);
        const std::string path = fmt::format("blocks.{}.", block);
        const auto add = [&](const std::string& name, std::int64_t in, std::int64_t out,
                             const std::string& group, bool reads_input = false) {
            LinearShape layer{path + name, tokens, in, out, Checked(tokens) * in, path + group};
            layer.attention_output = name == "attention.proj";
            if (e.patches) {  // a square of them behind a class token
                const auto side = static_cast<std::int64_t>(std::sqrt(tokens - 1));
                if (side * side == tokens - 1) layer.rows = layer.columns = side, layer.extra = 1;
            }
            if (e.fused && name == "attention.qkv") layer.parts = 3;
            result.add(layer, reads_input);
        };
        if (e.fused) {
            add("attention.qkv", e.width, e.width + 2 * e.kv, "attention.qkv", true);
        } else {
            add("attention.q", e.width, e.width, "attention.qkv", true);
            add("attention.k", e.width, e.kv, "attention.qkv", true);
            add("attention.v", e.width, e.kv, "attention.qkv", true);
        }
        add("attention.proj", e.width, e.width, "attention.proj");
        if (e.gated) {
            add("mlp.gate", e.width, e.hidden, "mlp.in");
            add("mlp.up", e.width, e.hidden, "mlp.in");
            add("mlp.down", e.hidden, e.width, "mlp.down");
        } else {
            add("fc1", e.width, e.hidden, "fc1");
            add("fc2", e.hidden, e.width, "fc2");
        }
    }
    return result.layers;
}

/// An image on its way through a network. Every kernel is odd and padded by half its size.
struct Image {
    std::int64_t channels, height, width;
    Image after(std::int64_t out, std::int64_t stride) const {
        return {out, (height - 1) / stride + 1, (width - 1) / stride + 1};
    }
};

/// Adds one convolution and returns its output. Its matrix is unfold(x): (L = H'·W', C/groups·k·k).
Image convolve(Layers& layers, const std::string& name, const Image& x, std::int64_t out,
               std::int64_t kernel, std::int64_t stride, std::int64_t groups = 1,
               const std::string& block_input = "") {
    const Image y = x.after(out, stride);
    LinearShape layer;
    layer.name = layer.input_group = name;
    layer.tokens = Checked(y.height) * y.width;
    layer.in_channels = Checked(x.channels / groups) * kernel * kernel;
    layer.out_channels = out;
    layer.held_elements = Checked(x.channels) * x.height * x.width;
    layer.held_group = block_input;
    layer.compressible = groups == 1;
    layer.rows = y.height;
    layer.columns = y.width;
    layer.window =
        Window2d{{x.height, kernel, stride, kernel / 2}, {x.width, kernel, stride, kernel / 2}};
    layers.add(layer, !block_input.empty());
    return y;
}

std::vector<LinearShape> resnet50(Image x, const std::string& train_blocks) {
    constexpr std::int64_t depths[] = {3, 4, 6, 3};
    Layers layers(first_trained(train_blocks, 16));
    x = convolve(layers, "conv1", x, 64, 7, 2, 1, "image");
    x = x.after(64, 2);  // max pooling
    std::int64_t block = 0, width = 64;
    for (std::int64_t stage = 1; stage <= 4; ++stage, width *= 2)
        for (std::int64_t i = 0; i < depths[stage - 1]; ++i, ++block) {
            layers.block(block);
            const std::string path = fmt::format("layer{}.{}.", stage, i), input = path + "x";
            const std::int64_t stride = stage > 1 && i == 0 ? 2 : 1;
            Image y = convolve(layers, path + "conv1", x, width, 1, 1, 1, input);
            y = convolve(layers, path + "conv2", y, width, 3, stride);
            y = convolve(layers, path + "conv3", y, 4 * width, 1, 1);
            if (i == 0) convolve(layers, path + "downsample.0", x, 4 * width, 1, stride, 1, input);
            x = y;
        }
    return layers.layers;
}

std::vector<LinearShape> mobilenetv2(Image x, const std::string& train_blocks) {
    struct Stage {
        std::int64_t expansion, channels, blocks, stride;
    };
    constexpr Stage stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                                {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
    Layers layers(first_trained(train_blocks, 17));
    x = convolve(layers, "features.0.0", x, 32, 3, 2, 1, "image");
    std::int64_t block = 0;
    for (const Stage& stage : stages)
        for (std::int64_t i = 0; i < stage.blocks; ++i, ++block) {
            layers.block(block);
            const std::string path = fmt::format("features.{}.conv.", block + 1);
            const std::int64_t hidden = stage.expansion * x.channels;
            std::string input = path + "x";
            std::int64_t index = 0;  // torchvision numbers what is there
            if (stage.expansion > 1) {
                x = convolve(layers, path + "0.0", x, hidden, 1, 1, 1, input);
                input.clear();
                ++index;
            }
            x = convolve(layers, fmt::format("{}{}.0", path, index), x, hidden, 3,
                         i == 0 ? stage.stride : 1, hidden, input);
            x = convolve(layers, fmt::format("{}{}", path, index + 1), x, stage.channels, 1, 1);
        }
    layers.block(block);
    convolve(layers, "features.18.0", x, 1280, 1, 1);
    return layers.layers;
}

}  // namespace

std::vector<std::string> architecture_names() {
    std::vector<std::string> names;
    for (const Encoder& encoder : encoders) names.emplace_back(encoder.name);
    names.insert(names.end(), {"resnet50", "mobilenetv2"});
    return names;
}

bool takes_tokens(const std::string& architecture) {
    return std::ranges::find(encoders, architecture, &Encoder::name) != std::end(encoders);
}

std::vector<LinearShape> architecture(const std::string& name, const ArchitectureInput& input,
                                      const std::string& train_blocks) {
    require(input.tokens >= 0, "[cost] tokens must be at least 1, got {}", input.tokens);
    for (const Encoder& encoder : encoders)
        if (name == encoder.name)
            return transformer(encoder, input.tokens > 0 ? input.tokens : encoder.tokens,
                               train_blocks);
    require(input.channels >= 1 && input.height >= 1 && input.width >= 1,
            "[cost] expected channels, height and width of at least 1");
    const Image image{input.channels, input.height, input.width};
    if (name == "resnet50") return resnet50(image, train_blocks);
    if (name == "mobilenetv2") return mobilenetv2(image, train_blocks);
    fail("[cost] unknown architecture '{}'; known: {}", name,
         fmt::join(architecture_names(), ", "));
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
