#include "bench/case.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "instant/cost/cost_model.h"
#include "tensor/error.h"
#include "train/method_spec.h"

namespace slimgrad::bench {
namespace {

// ViT-B/32 at the cost of the paper's Tab. 11, row INSTANT-0.
constexpr Ranks table_11{3, 2, 3};

LinearShape shape(const std::string& name, const Size& size, std::int64_t in, std::int64_t out,
                  const std::string& group) {
    const TokenLayout layout = layout_of(size);
    LinearShape shape;
    shape.name = name;
    shape.tokens = size.tokens;
    shape.rows = layout.rows;
    shape.columns = layout.columns;
    shape.extra = layout.extra;
    shape.in_channels = in;
    shape.out_channels = out;
    shape.held_elements = size.tokens * in;
    shape.input_group = group;
    return shape;
}

}  // namespace

const std::vector<Case>& cases() {
    static const std::vector<Case> all = {
        {"linear/bert-8x512x768",
         "BERT-base, batch 8, 512 tokens",
         Kind::linears,
         {8, 512, 768, 12, 1}},
        {"linear/bert-32x128x768",
         "BERT-base, batch 32, 128 tokens",
         Kind::linears,
         {32, 128, 768, 12, 1}},
        {"linear/vit-b32-64x50x768",
         "ViT-B/32, batch 64, 50 tokens",
         Kind::linears,
         {64, 50, 768, 12, 1, 1}},
        {"linear/minilm-32x128x384",
         "MiniLM, batch 32, 128 tokens",
         Kind::linears,
         {32, 128, 384, 12, 1}},
        {"linear/vit-cifar-128x64x192",
         "ViT for CIFAR, batch 128, 64 tokens",
         Kind::linears,
         {128, 64, 192, 3, 1}},
        {"linear/tiny", "small enough for a first try", Kind::linears, {2, 8, 16, 2, 1}},
        {"step/bert-block-8x512x768", "one encoder block", Kind::blocks, {8, 512, 768, 12, 1}},
        {"step/bert-block-32x128x768", "one encoder block", Kind::blocks, {32, 128, 768, 12, 1}},
        {"step/minilm-32x128x384", "six encoder blocks", Kind::blocks, {32, 128, 384, 12, 6}},
        {"step/vit-cifar-128x64x192", "six encoder blocks", Kind::blocks, {128, 64, 192, 3, 6}},
        {.name = "step/resnet20-128",
         .what = "ResNet-20 on 3x32x32, batch 128",
         .kind = Kind::images,
         .size = {.batch = 128},
         .model = {"resnet20", "all", 256}},
        {.name = "step/resnet50-4x224",
         .what = "ResNet-50 on 3x224x224, batch 4",
         .kind = Kind::images,
         .size = {.batch = 4},
         .model = {"resnet50", "all", 784}},
        {.name = "step/vit-b32-16x224",
         .what = "ViT-B/32 on 3x224x224, batch 16, its last two blocks",
         .kind = Kind::images,
         .size = {.batch = 16},
         .model = {"vit-b32", "last:2", 50}},
        {"step/tiny", "small enough for a first try", Kind::blocks, {2, 8, 16, 2, 2}},
        {"tab11/linears",
         "ViT-B/32, eight linears of the last two blocks, ranks of Tab. 11",
         Kind::linears,
         {64, 50, 768, 12, 2, 1},
         table_11},
        {"tab11/blocks",
         "ViT-B/32, the last two blocks, ranks of Tab. 11",
         Kind::blocks,
         {64, 50, 768, 12, 2, 1},
         table_11},
        {"calibrate/bert-block-8x512x768",
         "one encoder block",
         Kind::calibration,
         {8, 512, 768, 12, 1}},
        {"calibrate/bert-block-32x128x768",
         "one encoder block",
         Kind::calibration,
         {32, 128, 768, 12, 1}},
        {"calibrate/minilm-32x128x384",
         "six encoder blocks",
         Kind::calibration,
         {32, 128, 384, 12, 6}},
        {"calibrate/vit-cifar-128x64x192",
         "six encoder blocks",
         Kind::calibration,
         {128, 64, 192, 3, 6}},
        {"calibrate/tiny", "small enough for a first try", Kind::calibration, {2, 8, 16, 2, 2}},
    };
    return all;
}

std::vector<Case> find_cases(const std::string& word) {
    std::vector<Case> found;
    std::vector<std::string> known;
    for (const Case& which : cases()) {
        known.push_back(which.name);
        const bool of_group = which.name.starts_with(word + "/") && !which.name.ends_with("/tiny");
        if (which.name == word || of_group) found.push_back(which);
    }
    require(!found.empty(), "[bench] unknown case '{}'. Known: {}", word, fmt::join(known, ", "));
    return found;
}

Case find_case(const std::string& name) {
    const std::vector<Case> found = find_cases(name);
    require(found.front().name == name, "[bench] expected one case, got the group '{}'", name);
    return found.front();
}

std::int64_t longest_rank(const Case& which) {
    if (which.kind == Kind::images) return which.model.longest_rank;
    std::int64_t longest = 1;
    for (const LinearShape& layer : linear_shapes(which, /*fused=*/true))
        for (const std::int64_t channels : {layer.in_channels, layer.out_channels})
            longest = std::max(longest, std::min(layer.tokens, channels));
    return longest;
}

std::vector<LinearShape> linear_shapes(const Case& which, bool fused) {
    const Size& s = which.size;
    std::vector<LinearShape> shapes;
    for (std::int64_t block = 0; block < s.blocks; ++block) {
        const std::string prefix = s.blocks > 1 ? std::to_string(block) + "." : "";
        const auto add = [&](const char* name, std::int64_t in, std::int64_t out,
                             const std::string& group) {
            shapes.push_back(shape(prefix + name, s, in, out, prefix + group));
            shapes.back().attention_output = std::string_view(name) == "proj";
        };
        if (fused) add("qkv", s.width, 3 * s.width, "qkv");
        if (!fused)
            for (const char* name : {"q", "k", "v"}) add(name, s.width, s.width, "qkv");
        add("proj", s.width, s.width, "proj");
        add("fc1", s.width, s.hidden(), "fc1");
        add("fc2", s.hidden(), s.width, "fc2");
    }
    return shapes;
}

TokenLayout layout_of(const Size& size) {
    const std::int64_t patches = size.tokens - size.extra;
    TokenLayout layout{.extra = size.extra};
    for (std::int64_t rows = 1; rows * rows <= patches; ++rows)
        if (patches % rows == 0) layout.rows = rows;
    if (layout.rows > 0) layout.columns = patches / layout.rows;
    return layout;
}

Variant variant_of(const std::string& spec) {
    const MethodRun run = with_method({}, spec);
    const std::vector<Option>& own = find_method(run.config.method).options;
    for (const std::string& name : run.given)
        require(name != "rank" && std::ranges::find(own, name, &Option::name) != own.end(),
                "[bench] method {}: '{}' is not an option of its own beside the rank, which "
                "--ranks gives",
                shown(spec), name);
    for (const char* name : {"tolerance", "complement"})
        require(std::ranges::find(run.given, name) == run.given.end(),
                "[bench] method {}: what '{}' does hangs on the gradients, which are noise here",
                shown(spec), name);
    Variant variant;
    variant.method = run.config.method;
    variant.own = run.config.own;
    const std::size_t colon = spec.find(':');
    if (colon != std::string::npos) variant.told = spec.substr(colon + 1);
    return variant;
}

MethodOptions options_of(const Variant& variant, const LinearShape& layer, std::int64_t batch) {
    const Ranks& ranks = variant.ranks;
    MethodOptions options;
    options.method = variant.method;
    options.own = variant.own;
    options.batch = batch;
    set_rank(options, ranks.x);
    if (options.rank_g)
        options.rank_g = layer.name.ends_with("qkv") ? ranks.g_qkv.value_or(ranks.g) : ranks.g;
    return options;
}

double flop_ratio(const Case& which, const Variant& variant) {
    if (which.kind == Kind::images) return 1;
    Variant asked = variant;
    asked.ranks = which.ranks.value_or(variant.ranks);
    LinearCost vanilla, method;
    for (const LinearShape& layer : linear_shapes(which, which.ranks.has_value())) {
        const std::int64_t batch = which.size.batch;
        const MethodOptions options = options_of(asked, layer, batch);
        vanilla += linear_cost(layer, {}, batch, Convention::paper);
        method += linear_cost(layer, compression_of(layer, options), batch, Convention::paper);
    }
    return static_cast<double>(vanilla.backward()) / static_cast<double>(method.backward());
}

}  // namespace slimgrad::bench
