#include <gtest/gtest.h>

#include <cmath>

#include "instant/cost/architectures.h"
#include "instant/cost/cost_model.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

ModelCost bert(const std::string& blocks, const MethodOptions& options, Convention convention) {
    const std::vector<LinearShape> layers = architecture("bert-base", 0, blocks);
    return model_cost(layers, compressions_of(layers, options), 1, convention);
}

TEST(CostModel, BertBaseLastBlockInBothConventions) {
    const ModelCost paper = bert("last:1", {}, Convention::paper);
    EXPECT_EQ(paper.total.backward(), 14'495'514'624);
    EXPECT_EQ(paper.total.saved_bytes, 14'155'776);
    const ModelCost executed = bert("last:1", {}, Convention::executed);
    EXPECT_EQ(executed.total.backward(), 12'683'575'296);
    EXPECT_EQ(executed.total.saved_bytes, 11'010'048);
}

TEST(CostModel, BertBaseAllBlocks) {
    const ModelCost paper = bert("all", {}, Convention::paper);
    EXPECT_EQ(paper.total.backward(), 173'946'175'488);
    EXPECT_EQ(paper.total.saved_bytes, std::int64_t{162} << 20);
}

TEST(CostModel, RankEightSavesTwentySevenTimes) {
    const LinearShape layer{"fc", 512, 768, 768, 512 * 768, "fc"};
    MethodOptions options;
    options.method = "instant";
    options.rank_x = options.rank_g = 8;
    const auto backward = [&](const Compression& c) {
        return static_cast<double>(linear_cost(layer, c, 1, Convention::paper).backward());
    };
    EXPECT_NEAR(backward({}) / backward(compression_of(layer, options)), 27.43, 0.005);
    // Eq. 34: 2 (Rx + Ry) (Cx Cy + L Cx + L Cy)
    EXPECT_EQ(backward(compression_of(layer, options)),
              2.0 * 16 * (768.0 * 768 + 512.0 * 768 + 512.0 * 768));
    EXPECT_NEAR(break_even_rank(layer), 219.43, 0.005);
}

TEST(CostModel, ExecutedSharesTheProjectedInputOfQkv) {
    MethodOptions options;
    options.method = "instant";
    options.rank_x = options.rank_g = 8;
    const ModelCost paper = bert("last:1", options, Convention::paper);
    const ModelCost executed = bert("last:1", options, Convention::executed);
    EXPECT_EQ(paper.total.saved_bytes - executed.total.saved_bytes, 2 * 4 * 8 * 768);
    EXPECT_EQ(paper.total.compress - executed.total.compress, 2 * 2 * 8 * 512 * 768);
    // Below the last block nothing trains: Q, K and V make no g_x and need no projector of g.
    EXPECT_EQ(paper.total.g_x - executed.total.g_x,
              3 * 2 * 8 * (512 * 768 + 768 * 768 + 512 * 768));
    EXPECT_EQ(paper.calibration.passes, 5 * 3 * paper.total.forward);
}

TEST(CostModel, ChannelSideSpreadsItsOncePerBatchTerms) {
    const LinearShape layer{"fc", 64, 16, 24, 64 * 16, "fc"};
    MethodOptions options;
    options.method = "instant";
    options.rank_x = options.rank_g = 4;
    const Compression compression = compression_of(layer, options);
    EXPECT_EQ(compression.side_x, Side::channel);
    EXPECT_EQ(compression.side_g, Side::channel);
    const LinearCost one = linear_cost(layer, compression, 1, Convention::paper);
    const LinearCost ten = linear_cost(layer, compression, 10, Convention::paper);
    EXPECT_EQ(10 * one.g_w - ten.g_w, 9 * 2 * 4 * 16 * 24);
    EXPECT_EQ(10 * one.g_x - ten.g_x, 9 * 2 * 4 * 16 * 24);
    EXPECT_EQ(ten.saved_bytes, 10 * 4 * 64 * 4);
    EXPECT_EQ(ten.projector_bytes, 4 * 4 * 16 + 4 * 4 * 24);
}

// Just below R* a slot costs less than exact, just above it more: both slots, both sides.
TEST(CostModel, BreakEvenRankIsWhereASlotCostsWhatItSaves) {
    for (const auto& [l, cx, cy] :
         {std::tuple{512, 768, 3072}, {50, 768, 768}, {64, 16, 24}, {7, 5, 3}, {196, 64, 256}})
        for (const Side side : {Side::token, Side::channel})
            for (const std::int64_t batch : {1, 8}) {
                const LinearShape layer{"fc", l, cx, cy, l * cx, "fc"};
                const double limit = break_even_rank(layer, side, batch);
                EXPECT_LT(limit, side == Side::token ? l : std::max(cx, cy));
                const auto cost = [&](bool x, double rank) {
                    Compression c;
                    c.side_x = c.side_g = side;
                    (x ? c.rank_x : c.rank_g) = static_cast<std::int64_t>(rank);
                    return linear_cost(layer, c, batch, Convention::paper).backward();
                };
                const std::int64_t exact =
                    linear_cost(layer, {}, batch, Convention::paper).backward();
                for (const bool x : {true, false}) {
                    if (limit >= 1) {
                        EXPECT_LE(cost(x, std::floor(limit)), exact);
                    }
                    EXPECT_GT(cost(x, std::floor(limit) + 1), exact);
                }
            }
}

TEST(CostModel, LayersThatShareXBreakEvenTogether) {
    MethodOptions options;
    options.method = "compress-x";
    options.break_even = "vanilla";
    const auto backward = [&](std::int64_t rank, const char* choice) {
        options.rank_x = rank;
        options.break_even = choice;
        auto layers = architecture("bert-base", 0, "last:1");
        layers.resize(3);  // Q, K, V
        return model_cost(layers, compressions_of(layers, options), 1, Convention::executed)
            .total.backward();
    };
    // R* = 271.06 of the three together; 219.4 of each alone.
    const std::int64_t exact = backward(512, "vanilla");
    EXPECT_LT(backward(271, "vanilla"), exact);
    EXPECT_EQ(backward(271, "vanilla"), backward(271, "report"));
    EXPECT_EQ(backward(272, "vanilla"), exact);
    EXPECT_GT(backward(272, "report"), exact);
}

TEST(CostModel, NumbersThatDoNotFitAreErrors) {
    constexpr std::int64_t large = std::int64_t{1} << 40;
    MethodOptions options;
    const auto cost = [&](const LinearShape& layer, std::int64_t batch) {
        return model_cost({layer}, compressions_of({layer}, options), batch, Convention::paper);
    };
    LinearShape layer;
    layer.name = layer.input_group = "a";
    layer.tokens = layer.in_channels = 1 << 15;
    layer.out_channels = 1 << 10;
    layer.held_elements = 1 << 30;
    EXPECT_GT(cost(layer, 1).total.forward, 0);
    EXPECT_THROW(cost(layer, large), Error);
    layer.tokens = large;
    EXPECT_THROW(cost(layer, 1), Error);
    EXPECT_THROW(break_even_rank(layer), Error);
    for (const std::string& name : architecture_names()) {
        const auto of = [&](std::int64_t tokens) {
            const std::vector<LinearShape> layers = architecture(name, tokens, "all");
            return model_cost(layers, std::vector<Compression>(layers.size()), 1,
                              Convention::paper);
        };
        EXPECT_GT(of(0).total.forward, 0) << name;
        EXPECT_THROW(of(large), Error) << name;
    }
}

TEST(CostModel, BadWords) {
    EXPECT_THROW(architecture("bert-huge", 0, "all"), Error);
    EXPECT_THROW(architecture("bert-base", -1, "all"), Error);
    for (const char* blocks : {"last:0", "last:13", "last:", "last:2x", "first:1", ""})
        EXPECT_THROW(architecture("bert-base", 0, blocks), Error) << blocks;
    MethodOptions options;
    options.method = "instant";
    EXPECT_THROW(bert("all", options, Convention::paper), Error) << "ranks are missing";
    options.method = "instnat";
    EXPECT_EQ(error_of([&] { validate(options); })
                  .find("[method] unknown method 'instnat'; known: vanilla, compress-x, "
                        "compress-gy, instant"),
              0u);
}

}  // namespace
}  // namespace slimgrad
