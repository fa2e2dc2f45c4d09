// Tokens as an image in patches: LBP-WHT against dense matrices that are written from its formulas.
#include <gtest/gtest.h>

#include <algorithm>

#include "instant/calibration/calibrator.h"
#include "instant/cost/architectures.h"
#include "instant/lab/lab.h"
#include "instant/methods/lbp_wht.h"
#include "instant/methods/patch_rule.h"
#include "nn/conv2d.h"
#include "nn/linear.h"
#include "tests/error_of.h"
#include "tests/layer_step.h"

namespace slimgrad {
namespace {

using Matrix = std::vector<std::vector<double>>;

/// The Walsh functions of eight points, by their number of changes of sign: Sylvester's matrix,
/// sorted.
Matrix walsh() {
    Matrix h{{1}};
    while (h.size() < 8) {
        const std::size_t n = h.size();
        Matrix twice(2 * n, std::vector<double>(2 * n));
        for (std::size_t i = 0; i < 2 * n; ++i)
            for (std::size_t j = 0; j < 2 * n; ++j)
                twice[i][j] = (i >= n && j >= n ? -1 : 1) * h[i % n][j % n];
        h = twice;
    }
    const auto changes = [](const std::vector<double>& row) {
        int count = 0;
        for (std::size_t i = 1; i < row.size(); ++i) count += row[i] != row[i - 1];
        return count;
    };
    std::ranges::sort(h, {}, changes);
    for (int i = 0; i < 8; ++i) EXPECT_EQ(changes(h[static_cast<std::size_t>(i)]), i);
    return h;
}

/// The positions under the patches along one side, which may lie beyond it.
std::vector<std::int64_t> covered(std::int64_t length) {
    const std::int64_t whole = (length + 7) / 8 * 8, before = (whole - length + 1) / 2;
    std::vector<std::int64_t> all;
    for (std::int64_t i = 0; i < whole; ++i) all.push_back(i - before);
    return all;
}

struct Dense {
    Tensor analysis, synthesis, scale;  // (n, L), (L, n), (n, n)
};

/// LBP-WHT as matrices on all tokens.
Dense dense(std::int64_t rows, std::int64_t columns, std::int64_t extra, std::int64_t order) {
    const Matrix h = walsh();
    const auto down = covered(rows), across = covered(columns);
    const auto mirrored = [](std::int64_t at, std::int64_t length) {
        return at < 0 ? -at : at >= length ? 2 * length - 2 - at : at;
    };
    const std::int64_t tokens = rows * columns + extra;
    std::vector<std::vector<real>> a, s;
    std::vector<real> scale;
    for (std::int64_t e = 0; e < extra; ++e) {
        a.emplace_back(tokens, real(0))[static_cast<std::size_t>(e)] = 1;
        s.push_back(a.back());
        scale.push_back(1);
    }
    for (std::size_t i = 0; i < down.size(); i += 8)
        for (std::size_t j = 0; j < across.size(); j += 8)
            for (std::size_t r = 0; r < 8; ++r)
                for (std::size_t c = 0; c < 8; ++c) {
                    if (static_cast<std::int64_t>(r + c) >= order) continue;
                    auto& sums = a.emplace_back(tokens, real(0));
                    auto& back = s.emplace_back(tokens, real(0));
                    scale.push_back(real(1) / 64);
                    for (std::size_t u = 0; u < 8; ++u)
                        for (std::size_t v = 0; v < 8; ++v) {
                            const std::int64_t y = down[i + u], x = across[j + v];
                            const auto at = static_cast<std::size_t>(
                                extra + mirrored(y, rows) * columns + mirrored(x, columns));
                            const auto value = static_cast<real>(h[r][u] * h[c][v]);
                            sums[at] += value;
                            if (y >= 0 && y < rows && x >= 0 && x < columns) back[at] += value;
                        }
                }
    const auto n = static_cast<std::int64_t>(a.size());
    Dense d{Tensor({n, tokens}), Tensor({tokens, n}), Tensor::zeros({n, n})};
    for (std::int64_t i = 0; i < n; ++i) {
        const auto k = static_cast<std::size_t>(i);
        d.scale.at({i, i}) = scale[k];
        for (std::int64_t t = 0; t < tokens; ++t) {
            d.analysis.at({i, t}) = a[k][static_cast<std::size_t>(t)];
            d.synthesis.at({t, i}) = s[k][static_cast<std::size_t>(t)];
        }
    }
    return d;
}

MethodOptions lbp_wht(std::int64_t order, const std::string& grid = "") {
    MethodOptions options{.method = "lbp-wht"};
    options.own.set("[test]", order_option(), order);
    options.own.set("[test]", grid_option(), grid);
    return options;
}

struct Grid {
    std::int64_t rows, columns, extra;
};
const std::vector<Grid> grids{{8, 8, 0},   {16, 8, 1}, {4, 4, 0},   {7, 7, 1}, {9, 5, 0},
                              {12, 20, 2}, {17, 4, 0}, {11, 13, 1}, {6, 24, 0}};

TEST(LbpWht, EqualsItsDenseMeaningOnRaggedGridsWithTokensBeforeThem) {
    for (const Grid& g : grids)
        for (const std::int64_t order : {1, 4, 9, 15}) {
            SCOPED_TRACE(fmt::format("{}x{} + {}, order {}", g.rows, g.columns, g.extra, order));
            Stream stream(3, "test");
            Linear layer(6, 5, stream);
            const std::int64_t tokens = g.rows * g.columns + g.extra;
            const Step step = step_of(layer, lbp_wht(order), random({3, tokens, 6}, 1),
                                      {g.rows, g.columns, g.extra});
            const Dense d = dense(g.rows, g.columns, g.extra, order);
            const Tensor g_hat = matmul(d.scale, matmul(d.analysis, step.gy));
            expect_close(step.gw, matmul_sum(g_hat, matmul(d.analysis, step.x)), "g_w");
            expect_close(step.gx, matmul(d.synthesis, matmul(g_hat, layer.weight().value)), "g_x");
            expect_close(layer.bias()->grad.dense(), sum_rows(step.gy), "g_b");
        }
}

TEST(LbpWht, AllFunctionsOnWholePatchesAreVanilla) {
    Stream stream(3, "test");
    Linear layer(6, 5, stream);
    const Tensor x = random({3, 16 * 8 + 1, 6}, 1);
    const Step all = step_of(layer, lbp_wht(15), x, {16, 8, 1});
    const Step exact = exact_step_of(layer, x);
    EXPECT_TRUE(identical(all.y, exact.y));
    expect_close(all.gw, exact.gw, "g_w");
    expect_close(all.gx, exact.gx, "g_x");
}

TEST(LbpWht, AConvolutionIsTheLinearMapOfItsUnfoldedImage) {
    struct Case {
        Shape x;
        Conv2dOptions options;
    };
    const std::vector<Case> cases{{{3, 4, 8, 16}, {.kernel = 1}},
                                  {{3, 4, 9, 7}, {.padding = 1}},
                                  {{2, 3, 19, 23}, {.stride = 2, .padding = 1}},
                                  {{2, 3, 12, 11}, {.kernel = {2, 3}, .dilation = {2, 1}}},
                                  {{2, 3, 8, 9}, {.kernel = 1, .stride = 2}},
                                  {{0, 3, 8, 9}, {.padding = 1}}};
    for (const Case& c : cases)
        for (const std::int64_t order : {2, 4, 15}) {
            SCOPED_TRACE(fmt::format("{}, order {}", to_string(c.x), order));
            Stream stream(3, "test");
            Conv2d conv(c.x[1], 5, c.options, stream);
            const Step step = step_of(conv, lbp_wht(order, "3x3"), random(c.x, 1));
            const Window2d window =
                make_window("test", c.x[2], c.x[3], c.options.kernel, c.options.stride,
                            c.options.padding, c.options.dilation);
            const Dense d = dense(window.rows.positions(), window.columns.positions(), 0, order);
            const Tensor gy =
                transpose(step.gy.reshape({c.x[0], 5, window.positions()}), {0, 2, 1});
            const Tensor g_hat = matmul(d.scale, matmul(d.analysis, gy));
            const Tensor w = conv.weight().value.reshape({5, step.gw.size(1)});
            expect_close(step.gw, matmul_sum(g_hat, matmul(d.analysis, im2col(step.x, window))),
                         "g_w");
            expect_close(step.gx, col2im(matmul(d.synthesis, matmul(g_hat, w)), window), "g_x");
        }
}

TEST(LbpWht, GroupedConvolutionsAndShortSequencesStayExact) {
    Stream stream(3, "test");
    const Tensor x = random({2, 4, 8, 8}, 1);
    Conv2d grouped(4, 4, {.padding = 1, .groups = 4}, stream);
    Conv2d one(4, 4, {.kernel = 8}, stream);  // a single position
    for (Conv2d* conv : {&grouped, &one}) {
        const Step exact = exact_step_of(*conv, x);
        conv->set_rule(lbp_wht_rule({*conv, lbp_wht(2)}));
        zero_grad(*conv);
        Tape tape;
        const Var input = tape.input(x);
        tape.backward(conv->forward(input), exact.gy);
        EXPECT_TRUE(identical(tape.gradient(input), exact.gx));
        EXPECT_TRUE(identical(conv->weight().grad.dense().reshape(exact.gw.shape()), exact.gw));
    }
}

TEST(LbpWht, ALayerMayRunTwiceInOneGraph) {
    Stream stream(3, "test");
    Linear layer(5, 5, stream, false);
    const TokenLayout layout{8, 9};
    const Tensor x = random({2, 72, 5}, 1), gy = random({2, 72, 5}, 2);
    layer.set_rule(lbp_wht_rule({layer, lbp_wht(3)}));
    Tape tape;
    const TokenScope tokens(tape, layout);
    const Var input = tape.input(x), y = layer.forward(input), z = layer.forward(y);
    tape.backward(z, gy);

    const Dense d = dense(8, 9, 0, 3);
    const Tensor w = layer.weight().value;
    const auto g_hat = [&](const Tensor& g) { return matmul(d.scale, matmul(d.analysis, g)); };
    const auto gw = [&](const Tensor& g, const Tensor& in) {
        return matmul_sum(g_hat(g), matmul(d.analysis, in));
    };
    const auto gx = [&](const Tensor& g) { return matmul(d.synthesis, matmul(g_hat(g), w)); };
    expect_close(layer.weight().grad.dense(), gw(gy, y.value()) + gw(gx(gy), x), "g_w");
    expect_close(tape.gradient(input), gx(gx(gy)), "g_x");
}

TEST(LbpWht, WhatIsNotAskedForIsNeitherKeptNorMade) {
    Stream stream(3, "test");
    Linear layer(5, 4, stream);
    const Tensor x = random({2, 64, 5}, 1), gy = random({2, 64, 4}, 2);
    layer.set_rule(lbp_wht_rule({layer, lbp_wht(2, "8x8")}));
    const std::int64_t before = ledger()[Category::saved].live;
    const std::int64_t once = 2 * 2 * 3 * 64, product = 2 * 2 * 3 * 5 * 4;
    const auto counts = [](const char* phase) { return meter().count("linear", phase); };
    {
        layer.weight().requires_grad = false;
        meter().reset();
        Tape tape;
        const Var y = layer.forward(tape.input(x));
        EXPECT_EQ(ledger()[Category::saved].live, before);
        tape.backward(y, gy);
        EXPECT_EQ(counts("compress"), 0);
        EXPECT_EQ(counts("g_w"), 0);
        EXPECT_EQ(counts("g_x"), once * 4 + product + once * 5);
    }
    layer.weight().requires_grad = true;
    meter().reset();
    Tape tape;
    tape.backward(layer.forward(tape.constant(x)), gy);
    EXPECT_EQ(counts("compress"), once * 5);
    EXPECT_EQ(counts("g_w"), once * 4 + product);
    EXPECT_EQ(counts("g_x"), 0);
}

TEST(LbpWht, LayersOfOneGroupKeepOneX) {
    Stream stream(3, "test");
    Linear q(5, 4, stream), k(5, 4, stream), other(5, 4, stream);
    q.set_input_group("qk");
    k.set_input_group("qk");
    other.set_input_group("other");
    for (Linear* layer : {&q, &k, &other})
        layer->set_rule(lbp_wht_rule({*layer, lbp_wht(2, "8x8")}));
    const std::int64_t before = ledger()[Category::saved].live;
    const auto kept = [&] { return ledger()[Category::saved].live - before; };
    Tape tape;
    const Var x = tape.constant(random({2, 64, 5}, 1));
    q.forward(x);
    const std::int64_t one = kept();
    EXPECT_EQ(one, static_cast<std::int64_t>(2 * 3 * 5 * sizeof(real)));
    k.forward(x);
    EXPECT_EQ(kept(), one);
    other.forward(x);
    EXPECT_EQ(kept(), 2 * one);
    k.set_rule(lbp_wht_rule({k, lbp_wht(3, "8x8")}));
    k.forward(x);
    EXPECT_EQ(kept(), 4 * one);
}

TEST(LbpWht, PartsOfABatchDoNotShow) {
    // More numbers than are transformed at once.
    Stream stream(3, "test");
    Linear layer(300, 7, stream);
    const Tensor x = random({130, 4 * 9, 300}, 1);
    const Step whole = step_of(layer, lbp_wht(2), x, {4, 9});
    const Dense d = dense(4, 9, 0, 2);
    const Tensor g_hat = matmul(d.scale, matmul(d.analysis, whole.gy));
    expect_close(whole.gw, matmul_sum(g_hat, matmul(d.analysis, x)), "g_w");
    expect_close(whole.gx, matmul(d.synthesis, matmul(g_hat, layer.weight().value)), "g_x");
}

TEST(LbpWht, CostsOfBertAndTinyLlamaAsThePaperCounts) {
    const auto cost = [](const char* model, std::int64_t order, Convention convention) {
        const auto layers = architecture(model, 0, "last:1");
        return model_cost(layers, compressions_of(layers, lbp_wht(order, "16x32")), 1, convention)
            .total;
    };
    const LinearCost two = cost("bert-base", 2, Convention::paper),
                     four = cost("bert-base", 4, Convention::paper);
    EXPECT_EQ(two.saved_bytes, 663'552);     // 0.633 MiB
    EXPECT_EQ(four.saved_bytes, 2'211'840);  // 2.109 MiB
    EXPECT_EQ(two.backward(), 764'411'904);
    EXPECT_EQ(four.backward(), 2'548'039'680);
    EXPECT_EQ(cost("tinyllama", 4, Convention::paper).backward(), 15'083'765'760);
    // What runs makes g_w by one product, not by R that are added up.
    const std::int64_t weights = 4 * 768 * 768 + 2 * 768 * 3072;
    const auto layers = architecture("bert-base", 0, "last:1");
    LinearCost alone;
    for (LinearShape layer : layers) {
        layer.needs_gx = true;
        alone +=
            linear_cost(layer, compression_of(layer, lbp_wht(2, "16x32")), 1, Convention::executed);
    }
    EXPECT_EQ(two.backward() - alone.backward(), 3 * weights);
}

TEST(Patches, WhatIsNoGridIsOneClearLine) {
    Stream stream(3, "test");
    Linear layer(5, 4, stream);
    const auto error = [&](const MethodOptions& options, std::int64_t tokens,
                           const TokenLayout& layout = {}) {
        return error_of([&] {
            layer.set_rule(lbp_wht_rule({layer, options}));
            Tape tape;
            const TokenScope scope(tape, layout);
            layer.forward(tape.input(random({2, tokens, 5}, 1)));
        });
    };
    EXPECT_EQ(error(lbp_wht(2), 64),
              "[linear] the method treats tokens as an image, but nothing says of how many rows "
              "and columns. Hint: --grid 16x32 (grid=\"16x32\") for 512 tokens; or TokenScope in "
              "the model");
    EXPECT_EQ(error(lbp_wht(2, "8x9"), 64),
              "[linear] the grid has 8x9 tokens and 0 before it, got 64 tokens. Hint: --grid");
    EXPECT_EQ(error(lbp_wht(2, "8x8"), 65, {0, 0, 1}), "no error");
    EXPECT_EQ(error(lbp_wht(2, "4x16"), 64, {8, 8}), "no error");
    EXPECT_EQ(error(lbp_wht(2), 48, {3, 16}),
              "[linear] lbp-wht pads a side of 3 tokens to 8 by its mirror image, which needs more "
              "than 3. Hint: a grid with longer sides, or gradient-filter");
    EXPECT_EQ(error(lbp_wht(2), 64, {16, 4}), "no error");
    for (const char* text : {"8", "8x", "x8", "8x8x8", "8X8", " 8x8", "-8x-8", "0x8", "8x0", "x",
                             "99999999999999999999x1"})
        EXPECT_EQ(error(lbp_wht(2, text), 64),
                  fmt::format("[method] expected rows and columns as grid, 16x32 for example, got "
                              "'{}'",
                              text));
    MethodOptions options = lbp_wht(2, "99999999x999999999999");
    EXPECT_NE(error(options, 64), "no error");
    for (const std::int64_t order : {0, 16})
        EXPECT_NE(
            error_of([&] { lbp_wht(order); }).find("expected a whole number from 1 to 15 as order"),
            std::string::npos);

    // The closed form knows the same.
    LinearShape shape{"fc", 64, 5, 4, 64 * 5, "fc"};
    EXPECT_NE(error_of([&] { compression_of(shape, lbp_wht(2)); }).find("[fc] the method treats"),
              std::string::npos);
    EXPECT_NE(error_of([&] { compression_of(shape, lbp_wht(2, "2x32")); }).find("[fc] lbp-wht"),
              std::string::npos);
}

TEST(Patches, CutASideWithItsOddPositionBefore) {
    const auto ranges = [](const PatchAxis& axis) {
        std::vector<std::pair<std::int64_t, std::int64_t>> all;
        for (std::int64_t i = 0; i < axis.count; ++i) {
            const PatchAxis::Range range = axis.inside(i);
            all.emplace_back(range.begin, range.end);
        }
        return all;
    };
    using Ranges = std::vector<std::pair<std::int64_t, std::int64_t>>;
    EXPECT_EQ(ranges({16, 8, 2}), (Ranges{{0, 8}, {8, 16}}));
    EXPECT_EQ(ranges({9, 8, 2}), (Ranges{{0, 4}, {4, 9}}));
    EXPECT_EQ(ranges({1, 8, 1}), (Ranges{{0, 1}}));
    EXPECT_EQ(ranges({11, 8, 1}), (Ranges{{1, 9}}));                 // less than there is
    EXPECT_EQ(ranges({2, 8, 3}), (Ranges{{0, 0}, {0, 2}, {2, 2}}));  // whole patches of padding
    for (const PatchAxis& axis : {PatchAxis{16, 8, 2}, {9, 8, 2}, {11, 8, 1}, {2, 8, 3}}) {
        std::int64_t covered = 0;
        for (std::int64_t i = 0; i < axis.count; ++i) covered += axis.inside(i).size();
        EXPECT_EQ((PatchGrid{axis, {1, 1, 1}}.covered()), covered);
    }
}

}  // namespace
}  // namespace slimgrad
