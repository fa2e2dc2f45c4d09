#include "instant/cost/architectures.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

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
    std::int64_t kv;  // width of K and of V
    bool gated;       // two products into the MLP
};
constexpr Encoder encoders[] = {
    {"bert-base", 12, 512, 768, 3072, 768, false}, {"distilbert", 6, 512, 768, 3072, 768, false},
    {"minilm-l6", 6, 512, 384, 1536, 384, false},  {"bert-small", 4, 512, 512, 2048, 512, false},
    {"bert-tiny", 2, 512, 128, 512, 128, false},   {"tinyllama", 22, 512, 2048, 5632, 256, true},
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
            result.add(layer, reads_input);
        };
        add("attention.q", e.width, e.width, "attention.qkv", true);
        add("attention.k", e.width, e.kv, "attention.qkv", true);
        add("attention.v", e.width, e.kv, "attention.qkv", true);
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

}  // namespace

std::vector<std::string> architecture_names() {
    std::vector<std::string> names;
    for (const Encoder& encoder : encoders) names.emplace_back(encoder.name);
    return names;
}

std::vector<LinearShape> architecture(const std::string& name, std::int64_t tokens,
                                      const std::string& train_blocks) {
    require(tokens >= 0, "[cost] tokens must be at least 1, got {}", tokens);
    const auto encoder = std::ranges::find(encoders, name, &Encoder::name);
    require(encoder != std::end(encoders), "[cost] unknown architecture '{}'; known: {}", name,
            fmt::join(architecture_names(), ", "));
    return transformer(*encoder, tokens > 0 ? tokens : encoder->tokens, train_blocks);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
