// Gradient Filter against loops that are written from its definition.
#include "instant/methods/gradient_filter.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "instant/cost/architectures.h"
#include "instant/methods/lbp_wht.h"
#include "instant/methods/patch_rule.h"
#include "nn/conv2d.h"
#include "nn/linear.h"
#include "tests/error_of.h"
#include "tests/layer_step.h"

namespace slimgrad {
namespace {

MethodOptions filter(std::int64_t patch, const std::string& grid = "") {
    MethodOptions options{.method = "gradient-filter"};
    options.own.set("[test]", patch_option(), patch);
    options.own.set("[test]", grid_option(), grid);
    return options;
}

/// The window that each of `length` positions falls into, of `count` windows of `patch`; some may
/// fall beside all of them.
std::vector<std::int64_t> windows(std::int64_t length, std::int64_t patch, std::int64_t count) {
    std::vector<std::int64_t> all;
    const std::int64_t before =
        static_cast<std::int64_t>(std::ceil(static_cast<double>(count * patch - length) / 2));
    for (std::int64_t i = 0; i < length; ++i) {
        const double window = std::floor(static_cast<double>(i + before) / patch);
        all.push_back(window < count ? static_cast<std::int64_t>(window) : -1);
    }
    return all;
}

/// (n, L): 1 where a token belongs to a row: itself for extra tokens, then its patch.
Tensor members(std::int64_t rows, std::int64_t columns, std::int64_t extra, std::int64_t patch_h,
               std::int64_t patch_w, std::int64_t count_h, std::int64_t count_w) {
    const auto down = windows(rows, patch_h, count_h), across = windows(columns, patch_w, count_w);
    Tensor m = Tensor::zeros({extra + count_h * count_w, extra + rows * columns});
    for (std::int64_t e = 0; e < extra; ++e) m.at({e, e}) = 1;
    for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < columns; ++c) {
            const std::int64_t i = down[std::size_t(r)], j = across[std::size_t(c)];
            if (i >= 0 && j >= 0) m.at({extra + i * count_w + j, extra + r * columns + c}) = 1;
        }
    return m;
}

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

Tensor members(std::int64_t rows, std::int64_t columns, std::int64_t extra, std::int64_t patch) {
    return members(rows, columns, extra, patch, patch, divide_up(rows, patch),
                   divide_up(columns, patch));
}

/// Each row divided by its sum.
Tensor means(const Tensor& m) {
    Tensor result = m.clone();
    for (std::int64_t i = 0; i < m.size(0); ++i) {
        const double total = sum(m.rows(i, 1));
        for (real& value : result.rows(i, 1).reshape({-1}).values())
            value /= static_cast<real>(total);
    }
    return result;
}

TEST(GradientFilter, EqualsItsDenseMeaningOnRaggedGridsWithTokensBeforeThem) {
    struct Grid {
        std::int64_t rows, columns, extra;
    };
    for (const Grid& g : {Grid{8, 8, 0}, {16, 8, 1}, {1, 3, 0}, {7, 7, 1}, {9, 5, 0}, {12, 20, 2}})
        for (const std::int64_t patch : {1, 2, 3, 8, 30}) {
            SCOPED_TRACE(fmt::format("{}x{} + {}, patch {}", g.rows, g.columns, g.extra, patch));
            Stream stream(3, "test");
            Linear layer(6, 5, stream);
            const Step step =
                step_of(layer, filter(patch), random({3, g.rows * g.columns + g.extra, 6}, 1),
                        {g.rows, g.columns, g.extra});
            const Tensor m = members(g.rows, g.columns, g.extra, patch);
            const Tensor mean = matmul(means(m), step.gy);
            expect_close(step.gw, matmul_sum(mean, matmul(m, step.x)), "g_w");
            expect_close(step.gx,
                         matmul(m, matmul(mean, layer.weight().value), Op::transpose, Op::none),
                         "g_x");
            expect_close(layer.bias()->grad.dense(), sum_rows(step.gy), "g_b");
        }
}

TEST(GradientFilter, PatchesOfOneTokenAreVanilla) {
    Stream stream(3, "test");
    Linear layer(6, 5, stream);
    const Tensor x = random({3, 41, 6}, 1);
    const Step filtered = step_of(layer, filter(1), x, {5, 8, 1}), exact = exact_step_of(layer, x);
    expect_close(filtered.gw, exact.gw, "g_w");
    expect_close(filtered.gx, exact.gx, "g_x");
}

TEST(GradientFilter, IsTheFirstWalshFunctionOnWholePatches) {
    Stream stream(3, "test");
    Linear layer(6, 5, stream);
    const Tensor x = random({3, 16 * 24 + 1, 6}, 1);
    MethodOptions first{.method = "lbp-wht"};
    first.own.set("[test]", order_option(), std::int64_t{1});
    const TokenLayout layout{16, 24, 1};
    const Step a = step_of(layer, filter(8), x, layout), b = step_of(layer, first, x, layout);
    expect_close(a.gw, b.gw, "g_w");
    expect_close(a.gx, b.gx, "g_x");
    EXPECT_EQ(a.saved, b.saved);
}

TEST(GradientFilter, AConvolutionIsOneTokenAtEachPixel) {
    struct Case {
        Shape x;
        Conv2dOptions options;
    };
    const std::vector<Case> cases{{{3, 4, 8, 16}, {.kernel = 1}},
                                  {{3, 4, 9, 7}, {.padding = 1}},
                                  {{2, 3, 19, 23}, {.stride = 2, .padding = 1}},
                                  {{2, 3, 11, 10}, {.kernel = {4, 3}}},  // pixels in no window
                                  {{2, 3, 2, 9}, {.padding = {9, 1}}},   // windows without pixels
                                  {{2, 3, 12, 11}, {.kernel = {2, 3}, .stride = {1, 3}}},
                                  {{0, 3, 8, 9}, {.padding = 1}}};
    for (const Case& c : cases)
        for (const std::int64_t patch : {2, 4, 8}) {
            SCOPED_TRACE(fmt::format("{}, patch {}", to_string(c.x), patch));
            Stream stream(3, "test");
            Conv2d conv(c.x[1], 5, c.options, stream);
            const Step step = step_of(conv, filter(patch, "3x3"), random(c.x, 1));
            const std::int64_t batch = c.x[0], channels = c.x[1], h = step.y.size(2),
                               w = step.y.size(3), taps = step.gw.size(1) / channels;
            const Tensor of_y = members(h, w, 0, patch);
            const Tensor of_x =
                members(c.x[2], c.x[3], 0, patch * c.options.stride.rows,
                        patch * c.options.stride.columns, divide_up(h, patch), divide_up(w, patch));
            const auto tokens = [&](const Tensor& image) {
                return transpose(image.reshape({batch, image.size(1), -1}), {0, 2, 1});
            };
            const auto flat = [&](const Tensor& image) {
                return batch > 0 ? tokens(image)
                                 : Tensor({0, image.size(2) * image.size(3), image.size(1)});
            };
            const Tensor mean = matmul(means(of_y), flat(step.gy));
            const Tensor one = matmul_sum(mean, matmul(of_x, flat(step.x)));  // (Cy, C)
            Tensor w_sum = Tensor::zeros({5, channels});
            for (std::int64_t o = 0; o < 5; ++o)
                for (std::int64_t i = 0; i < channels; ++i)
                    for (std::int64_t t = 0; t < taps; ++t) {
                        w_sum.at({o, i}) +=
                            conv.weight().value.data()[(o * channels + i) * taps + t];
                        EXPECT_NEAR(step.gw.at({o, i * taps + t}), one.at({o, i}),
                                    (sizeof(real) == 8 ? 1e-11 : 1e-3));
                    }
            expect_close(flat(step.gx), matmul(of_x, matmul(mean, w_sum), Op::transpose, Op::none),
                         "g_x");
        }
}

TEST(GradientFilter, ALayerMayRunTwiceInOneGraph) {
    Stream stream(3, "test");
    Linear layer(5, 5, stream, false);
    const Tensor x = random({2, 30, 5}, 1), gy = random({2, 30, 5}, 2), w = layer.weight().value;
    layer.set_rule(gradient_filter_rule({layer, filter(4, "5x6")}));
    Tape tape;
    const Var input = tape.input(x), y = layer.forward(input), z = layer.forward(y);
    tape.backward(z, gy);
    const Tensor m = members(5, 6, 0, 4);
    const auto gw = [&](const Tensor& g, const Tensor& in) {
        return matmul_sum(matmul(means(m), g), matmul(m, in));
    };
    const auto gx = [&](const Tensor& g) {
        return matmul(m, matmul(matmul(means(m), g), w), Op::transpose, Op::none);
    };
    expect_close(layer.weight().grad.dense(), gw(gy, y.value()) + gw(gx(gy), x), "g_w");
    expect_close(tape.gradient(input), gx(gx(gy)), "g_x");
}

TEST(GradientFilter, WhatIsNotAskedForIsNeitherKeptNorMade) {
    Stream stream(3, "test");
    Linear layer(5, 4, stream);
    const Tensor x = random({2, 64, 5}, 1), gy = random({2, 64, 4}, 2);
    layer.set_rule(gradient_filter_rule({layer, filter(4, "8x8")}));
    layer.weight().requires_grad = false;
    const std::int64_t before = ledger()[Category::saved].live;
    meter().reset();
    Tape tape;
    const Var y = layer.forward(tape.input(x));
    EXPECT_EQ(ledger()[Category::saved].live, before);
    tape.backward(y, gy);
    EXPECT_EQ(meter().phase("compress") + meter().phase("g_w"), 0);
    EXPECT_EQ(meter().phase("g_x"), 2 * (4 * 64 + 2 * 4 * 5 * 4));
}

TEST(GradientFilter, CostsOfBertAsThePaperCounts) {
    const auto layers = architecture("bert-base", 0, "last:1");
    const LinearCost cost =
        model_cost(layers, compressions_of(layers, filter(8, "16x32")), 1, Convention::paper).total;
    EXPECT_EQ(cost.saved_bytes, 221'184);  // 0.2109 MiB
    // Eq. 38 is 233.57 million; Tab. 2's 226.49 are without the pooling of eq. 36.
    const std::int64_t pooling = 8 * 64 * 2 * (5 * 768 + 3072);
    EXPECT_EQ(cost.backward(), 233'570'304);
    EXPECT_EQ(cost.backward() - pooling, 226'492'416);
    // A ragged grid: the paper counts whole patches, and only true tokens are added up.
    const LinearShape shape{"fc", 35, 3, 2, 35 * 3, "fc"};
    const Compression ragged = compression_of(shape, filter(4, "5x7"));
    EXPECT_EQ(linear_cost(shape, ragged, 1, Convention::paper).compress, 3 * 4 * 16);
    EXPECT_EQ(linear_cost(shape, ragged, 1, Convention::executed).compress, 3 * 35);
}

TEST(GradientFilter, BadInputIsOneClearLine) {
    for (const std::int64_t patch : {0, 1025})
        EXPECT_EQ(
            error_of([&] { filter(patch); }),
            fmt::format("[test] expected a whole number from 1 to 1024 as patch, got {}", patch));
    Stream stream(3, "test");
    Linear layer(5, 4, stream);
    layer.set_rule(gradient_filter_rule({layer, filter(8)}));
    Tape tape;
    EXPECT_NE(error_of([&] {
                  layer.forward(tape.input(random({2, 9, 5}, 1)));
              }).find("[linear] the method treats tokens as an image"),
              std::string::npos);
}

}  // namespace
}  // namespace slimgrad
