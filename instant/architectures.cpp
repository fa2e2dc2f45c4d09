#include <fmt/ranges.h>

#include <charconv>

#include "instant/cost_model.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
namespace {

/// How many blocks, from the last, a selection trains.
std::int64_t trained_blocks(const std::string& selection, std::int64_t blocks) {
    if (selection == "all") return blocks;
    std::int64_t last = 0;
    const bool is_last = selection.starts_with("last:");
    const char* end = selection.data() + selection.size();
    const auto parsed = std::from_chars(selection.data() + (is_last ? 5 : 0), end, last);
    require(is_last && parsed.ec == std::errc() && parsed.ptr == end && last >= 1 && last <= blocks,
            "[cost] expected train blocks 'all' or 'last:K' with K from 1 to {}, got '{}'", blocks,
            selection);
    return last;
}

/// An encoder block as in BERT: Q, K, V and the output projection of one width, and the two layers
/// of the MLP. Where nothing below trains, Q, K and V need no g_x.
void add_encoder_block(std::vector<LinearShape>& layers, const std::string& path,
                       std::int64_t tokens, std::int64_t width, std::int64_t hidden, bool first) {
    const auto add = [&](const std::string& name, std::int64_t in, std::int64_t out,
                         const std::string& group, bool needs_gx) {
        layers.push_back({path + name, tokens, in, out, tokens * in, path + group, needs_gx});
    };
    for (const char* name : {"attention.q", "attention.k", "attention.v"})
        add(name, width, width, "attention.qkv", !first);
    add("attention.proj", width, width, "attention.proj", true);
    add("fc1", width, hidden, "fc1", true);
    add("fc2", hidden, width, "fc2", true);
}

}  // namespace

std::vector<std::string> architecture_names() { return {"bert-base"}; }

std::vector<LinearShape> architecture(const std::string& name, std::int64_t tokens,
                                      const std::string& train_blocks) {
    require(name == "bert-base", "[cost] unknown architecture '{}'; known: {}", name,
            fmt::join(architecture_names(), ", "));
    require(tokens >= 1, "[cost] tokens must be at least 1, got {}", tokens);
    constexpr std::int64_t blocks = 12;
    const std::int64_t first = blocks - trained_blocks(train_blocks, blocks);
    std::vector<LinearShape> layers;
    for (std::int64_t block = first; block < blocks; ++block)
        // With all blocks trained the embeddings below train too.
        add_encoder_block(layers, fmt::format("blocks.{}.", block), tokens, 768, 3072,
                          block == first && first > 0);
    return layers;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
