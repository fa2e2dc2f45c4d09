// The paper's Tables 9 and 10: what INSTANT, random subspaces and ESPACE cost on
// EfficientFormer-L1.
#include <gtest/gtest.h>

#include <cmath>

#include "instant/cost/cost_model.h"
#include "instant/cost/trace.h"
#include "instant/methods/options.h"
#include "nn/models/model.h"

namespace slimgrad {
namespace {

/// The maps that the tables count: those that a method may compress, which leaves out heads and
/// down-sampling. Table 9 trains the last stage.
std::vector<LinearShape> efficientformer(bool last_stage) {
    const auto model = make_model("efficientformer-l1", {.height = 224, .width = 224});
    select_train_blocks(*model, last_stage ? "last:4" : "all");
    std::vector<LinearShape> layers = trace_linear_maps(*model, [&] {
        Tape tape({.update_statistics = false});
        model->forward(tape.constant(Tensor::zeros({2, 3, 224, 224})));
    });
    std::erase_if(layers, [](const LinearShape& l) { return !l.compressible || !l.needs_gw; });
    return layers;
}

struct Figures {
    double forward, backward, saved;  // MFLOPs, MFLOPs, MiB
};

Figures figures(const std::vector<LinearShape>& layers, const std::string& method,
                std::int64_t ratio) {
    MethodOptions options{.method = method};
    options.own.set("[test]", ratio_option(), ratio);
    const LinearCost cost =
        model_cost(layers, compressions_of(layers, options), 1, Convention::paper).total;
    return {static_cast<double>(cost.forward) / 1e6, static_cast<double>(cost.backward()) / 1e6,
            static_cast<double>(cost.saved_bytes) / (1 << 20)};
}

void expect_printed(const Figures& counted, const Figures& printed) {
    EXPECT_NEAR(counted.forward, printed.forward, 1);
    EXPECT_NEAR(counted.backward, printed.backward, 1);
    EXPECT_NEAR(counted.saved, printed.saved, 0.005);
}

TEST(EfficientFormer, TheLastStageIsThatOfTable9) {
    const std::vector<LinearShape> layers = efficientformer(true);
    expect_printed(figures(layers, "vanilla", 1), {742, 1484, 1.95});
    expect_printed(figures(layers, "random", 2), {742, 827, 0.96});
    expect_printed(figures(layers, "random", 4), {742, 414, 0.48});
    // The paper's backward of ESPACE is twice its forward: P x and P g twice. One of each will do.
    const Figures half = figures(layers, "espace", 2), quarter = figures(layers, "espace", 4);
    expect_printed({half.forward, 2 * half.forward, half.saved}, {414, 827, 0.96});
    // (And prints 212 as the half of 414.)
    expect_printed({quarter.forward, 2 * quarter.forward, quarter.saved}, {207, 414, 0.48});
    EXPECT_LT(half.backward, 827);
}

TEST(EfficientFormer, TheWholeNetworkIsThatOfTable10ButForBytesOfTheChannelSide) {
    const std::vector<LinearShape> layers = efficientformer(false);
    expect_printed(figures(layers, "vanilla", 1), {2264, 4528, 18.46});
    const Figures half = figures(layers, "random", 2), quarter = figures(layers, "random", 4);
    EXPECT_NEAR(half.backward, 4694, 1);
    EXPECT_NEAR(quarter.backward, 2347, 1);
    EXPECT_NEAR(figures(layers, "espace", 2).forward, 2347, 1);
    EXPECT_NEAR(figures(layers, "espace", 4).forward, 1173, 1);
    // 4.29 and 2.14 are printed, which is R Cx numbers for each layer. On the channel side of the
    // first two stages R L are kept.
    const auto as_printed = [&](std::int64_t ratio) {
        std::int64_t numbers = 0;
        for (const LinearShape& layer : layers)
            numbers += std::min(layer.tokens, layer.in_channels) / ratio * layer.in_channels;
        return 4.0 * static_cast<double>(numbers) / (1 << 20);
    };
    EXPECT_NEAR(as_printed(2), 4.29, 0.005);
    EXPECT_NEAR(as_printed(4), 2.14, 0.005);
    EXPECT_NEAR(half.saved, 9.21, 0.005);
    EXPECT_NEAR(quarter.saved, 4.60, 0.005);
}

}  // namespace
}  // namespace slimgrad
