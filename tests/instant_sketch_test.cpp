// The sketch of a gradient, the rule that is made of it, and the ranks that follow a tolerance.
#include "instant/methods/sketch.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>

#include "instant/codec/quantised.h"
#include "instant/methods/options.h"
#include "instant/methods/sketch_rule.h"
#include "tensor/kernels/orthonormal.h"
#include "tensor/kernels/skinny.h"
#include "tensor/meter.h"
#include "tests/error_of.h"
#include "tests/layer_step.h"
#include "tests/one_layer.h"

namespace slimgrad {
namespace {

constexpr double rounding = sizeof(real) == 8 ? 1e-12 : 5e-6;

double distance(const Tensor& a, const Tensor& b) { return std::sqrt(sum_squares(a - b)); }

/// Rows (B, R, N) with their Gram matrices I.
void expect_orthonormal(const Tensor& rows, const std::string& what) {
    const Tensor gram = matmul(rows, rows, Op::none, Op::transpose);
    const std::int64_t rank = rows.size(1);
    double worst = 0;
    for (std::int64_t i = 0; i < gram.numel(); ++i) {
        const bool diagonal = i % (rank * rank) / rank == i % rank;
        worst = std::max(worst, std::abs(double{gram.data()[i]} - (diagonal ? 1 : 0)));
    }
    EXPECT_LT(worst, 10 * rounding) << what;
}

/// (B, L, C) of samples of this rank.
Tensor of_rank(std::int64_t rank, const Shape& shape, std::uint64_t seed = 1) {
    return matmul(random({shape[0], shape[1], rank}, seed),
                  random({shape[0], rank, shape[2]}, seed + 1));
}

void orthonormalise_each(Tensor& rows) {
    const std::int64_t size = rows.size(1) * rows.size(2);
    for (std::int64_t b = 0; b < rows.size(0); ++b)
        orthonormalise(rows.size(1), rows.size(2), rows.data() + b * size);
}

TEST(Sketch, RowsBecomeOrthonormalWhateverTheyAre) {
    for (const auto& [rank, length] : {std::pair{1, 1}, {1, 9}, {4, 9}, {9, 9}, {64, 70}})
        for (const double size : {1.0, 1e-25, 1e25}) {
            Tensor rows = random({3, rank, length}) * static_cast<real>(size);
            const Tensor given = rows * static_cast<real>(1 / size);
            orthonormalise_each(rows);
            const std::string what = fmt::format("{} of {}, {}", rank, length, size);
            expect_orthonormal(rows, what);
            // The same span: what was given is a sum of them.
            const Tensor back = matmul(matmul(given, rows, Op::none, Op::transpose), rows);
            expect_close(back, given, what, 20 * rounding);
        }
    Tensor dependent = of_rank(2, {2, 5, 8});
    orthonormalise_each(dependent);
    expect_orthonormal(dependent, "of rank two");
    Tensor zeros = Tensor::zeros({2, 5, 8});
    orthonormalise_each(zeros);
    expect_orthonormal(zeros, "zeros");
}

TEST(Sketch, ThinProductsAreProducts) {
    for (const auto& [rank, length, channels] : {std::array<std::int64_t, 3>{1, 1, 1},
                                                 {3, 5, 7},
                                                 {8, 80, 384},
                                                 {17, 33, 600},
                                                 {64, 20, 9}}) {
        const Tensor g = random({length, channels}), a = random({rank, channels}, 2),
                     b = random({rank, length}, 3), c = random({rank, channels}, 4);
        const std::string what = fmt::format("{} {} {}", rank, length, channels);
        Tensor mixed({rank, length}), projected({rank, channels}), expanded({length, channels});
        double squares = 0;
        Tensor sums = Tensor::zeros({channels});
        mix_sample(length, channels, rank, g.data(), a.data(), mixed.data(),
                   {&squares, sums.data()});
        EXPECT_TRUE(identical(sums, sum_tokens(g.reshape({1, length, channels})))) << what;
        expect_close(mixed, matmul(a, g, Op::none, Op::transpose), what);
        EXPECT_NEAR(squares / sum_squares(g), 1, rounding) << what;
        project_sample(length, channels, rank, g.data(), b.data(), projected.data());
        expect_close(projected, matmul(b, g), what);
        const Tensor q = random({rank, length}, 5);
        expand_sample(rank, length, channels, q.data(), c.data(), expanded.data());
        expect_close(expanded, matmul(q, c, Op::transpose), what);
        if (past_the_caches(channels, 1 << 30, expanded.data())) {
            Tensor streamed({length, channels});
            expand_sample(rank, length, channels, q.data(), c.data(), streamed.data(), true);
            EXPECT_TRUE(identical(streamed, expanded)) << what;
        }
        Tensor iterated = b.clone();
        iterate_sample(length, channels, rank, g.data(), iterated.data());
        expect_close(iterated, matmul(projected, g, Op::none, Op::transpose), what);
    }
}

TEST(Sketch, TheErrorIsWhatTheEnergiesSay) {
    const Tensor g = random({3, 7, 6});
    for (const Side side : {Side::token, Side::channel})
        for (const std::int64_t rank : {1, 3, 6})
            for (const std::int64_t power : {0, 1, 2}) {
                const std::string what =
                    fmt::format("{} rank {} power {}", to_string(side), rank, power);
                const bool token = side == Side::token;
                const Sketch s =
                    sketch(g, {.side = side, .power = power}, random({rank, token ? 6 : 7}, 5));
                expect_orthonormal(token ? s.left : s.right, what);
                const Tensor product = matmul(s.left, s.right, Op::transpose);
                const double lost = distance(product, g) * distance(product, g);
                EXPECT_NEAR(s.total, sum_squares(g), 20 * rounding * s.total) << what;
                EXPECT_NEAR(lost, (1 - s.kept()) * s.total, 20 * rounding * s.total) << what;
            }
}

TEST(Sketch, PowerStepsBringItToTheOptimum) {
    // Singular values that fall slowly: 1, 0.8, 0.8², ...
    Tensor g = Tensor::zeros({1, 12, 12});
    for (std::int64_t i = 0; i < 12; ++i) g.data()[i * 13] = static_cast<real>(std::pow(0.8, i));
    const double optimum = [] {
        double tail = 0;
        for (int i = 4; i < 12; ++i) tail += std::pow(0.64, i);
        return tail;
    }();
    std::vector<double> lost;
    for (const std::int64_t power : {0, 1, 2, 20}) {
        double mean = 0;
        for (std::uint64_t seed = 0; seed < 20; ++seed) {
            const Sketch s = sketch(g, {.power = power}, random({4, 12}, seed));
            mean += (1 - s.kept()) * s.total / 20;
        }
        lost.push_back(mean);
    }
    EXPECT_GT(lost[0], 1.3 * lost[1]);
    EXPECT_GT(lost[1], lost[2]);
    EXPECT_GT(lost[2], optimum);
    EXPECT_NEAR(lost[3], optimum, 1e-3 * optimum);
}

/// ‖mean error‖² and the rest of the mean ‖error‖², over draws of the complement.
struct Split {
    double bias, variance;
};

Split split(const Tensor& g, const SketchOptions& options, const Tensor& omega, int draws) {
    Tensor mean = Tensor::zeros(g.shape());
    double squares = 0;
    const std::int64_t axis = options.side == Side::token ? g.size(1) : g.size(2);
    for (int i = 0; i < draws; ++i) {
        const auto seed = 100 + static_cast<std::uint64_t>(i);
        const Sketch s = sketch(g, options, omega, random({options.complement, axis}, seed));
        const Tensor error = matmul(s.left, s.right, Op::transpose) - g;
        squares += sum_squares(error) / draws;
        mean = mean + error * (real(1) / static_cast<real>(draws));
    }
    // The mean of the draws has a share of the variance too.
    const double bias = (sum_squares(mean) * draws - squares) / (draws - 1);
    return {bias, squares - bias};
}

TEST(Sketch, ItsComplementTradesBiasForVarianceAsDerived) {
    const Tensor g = random({1, 14, 9});
    for (const Side side : {Side::token, Side::channel}) {
        const std::int64_t axis = side == Side::token ? 14 : 9, rank = 3;
        const Tensor omega = random({rank, 23 - axis}, 5);
        const Sketch alone = sketch(g, {.side = side}, omega);
        const double tail = (1 - alone.kept()) * alone.total;
        const double share = 2.0 / static_cast<double>(axis - rank);  // r / m
        for (const std::optional<double> scale : {std::optional<double>(), {1.0}, {2.0}}) {
            const SketchOptions options{.side = side, .complement = 2, .scale = scale};
            const double c = scale.value_or(1 / share);
            const auto [bias, variance] = split(g, options, omega, 4000);
            EXPECT_NEAR(bias, std::pow(1 - c * share, 2) * tail, 0.02 * tail) << c;
            EXPECT_NEAR(variance / tail, c * c * share * (1 - share), 0.08 * c * c * share) << c;
        }
        // As many as there are beside the basis: nothing is left out.
        const Sketch all = sketch(g, {.side = side, .complement = 50}, omega, random({50, axis}));
        expect_close(matmul(all.left, all.right, Op::transpose), g, "all", 20 * rounding);
    }
}

TEST(Sketch, TheRuleIsItsDenseMeaning) {
    for (OneLayer& layer : every_layer())
        for (const Side side : {Side::token, Side::channel}) {
            const SketchRule::Options options{.rank = 3, .side = side};
            const auto rule = std::make_shared<const SketchRule>(options);
            layer.map->set_rule(rule);
            const Outcome got = run(layer, {.seed = 4, .step = 9});
            LinearCall call = layer.call(4, 9);
            call.layer = layer.map->path();
            const Sketch s = rule->sketch_of(layer.g_matrix, call, 3);
            const Tensor g = matmul(s.left, s.right, Op::transpose);
            const std::string what = layer.shape.name + " " + to_string(side);
            expect_close(got.gw, matmul_sum(g, layer.x_matrix), what, 1e-4);
            expect_close(got.gx, layer.op->x_of(matmul(g, layer.w)), what, 1e-4);
            EXPECT_GT(distance(g, layer.g_matrix), 0.1) << "it compresses";
        }
}

TEST(Sketch, TheGradientOfABiasHasTheBitsOfTheExactOne) {
    for (OneLayer& layer : every_layer()) {
        const Outcome exact = run(layer, {.seed = 4, .step = 9});
        for (const Side side : {Side::token, Side::channel}) {
            layer.map->set_rule(
                std::make_shared<const SketchRule>(SketchRule::Options{.rank = 3, .side = side}));
            EXPECT_TRUE(identical(run(layer, {.seed = 4, .step = 9}).gb, exact.gb))
                << layer.shape.name << " " << to_string(side);
        }
    }
}

TEST(Sketch, MeetsAKeptProjectionOfX) {
    for (OneLayer& layer : every_layer())
        for (const Side side : {Side::token, Side::channel})
            for (const Side side_x : {Side::token, Side::channel}) {
                const std::int64_t axis = layer.x_matrix.size(side_x == Side::token ? 1 : 2);
                Projector p{{side_x, random({3, axis}, 7)}};
                const auto x_slot = std::make_shared<const LowRankRule>(
                    std::make_shared<const Projector>(p), nullptr);
                const auto rule = std::make_shared<const SketchRule>(
                    SketchRule::Options{.rank = 2, .x_slot = x_slot, .side = side});
                layer.map->set_rule(rule);
                const Outcome got = run(layer, {.seed = 4, .step = 9});
                LinearCall call = layer.call(4, 9);
                call.layer = layer.map->path();
                const Sketch s = rule->sketch_of(layer.g_matrix, call, 2);
                const Tensor g = matmul(s.left, s.right, Op::transpose);
                const std::string what =
                    layer.shape.name + " " + to_string(side) + " " + to_string(side_x);
                expect_close(got.gw, matmul_sum(g, dense(p, layer.x_matrix)), what, 1e-4);
                expect_close(got.gx, layer.op->x_of(matmul(g, layer.w)), what, 1e-4);
                // Where no sketch is made, g_w is that of the kept x all the same.
                layer.map->set_rule(std::make_shared<const SketchRule>(
                    SketchRule::Options{.rank = 1000,
                                        .x_slot = x_slot,
                                        .side = side,
                                        .exact_beyond_break_even = true}));
                const Outcome left = run(layer);
                layer.map->set_rule(x_slot);
                EXPECT_TRUE(identical(left.gw, run(layer).gw)) << what;
            }
}

TEST(Sketch, SidesAndKeptInputsAreCountedToTheLastUnit) {
    for (OneLayer& layer : every_layer())
        for (const char* side : {"token", "channel", "auto"})
            // Bytes in closed form are those of single precision, which codes have in both.
            for (const char* keep : {"exact", "8", "4", "p"})
                for (const std::int64_t power : {0, 2}) {
                    if (sizeof(real) == 8 && (*keep == '8' || *keep == '4')) continue;
                    MethodOptions options{.method = "sketch", .rank_x = 2, .side = side};
                    options.own.set("[test]", complement_option(), power);
                    options.own.set("[test]", rank_option(), std::int64_t{2});
                    options.own.set("[test]", power_option(), power);
                    options.own.set("[test]", keep_x_option(), std::string(keep));
                    SCOPED_TRACE(fmt::format("{} {} {} {}", layer.shape.name, side, keep, power));
                    const Tensor& x = layer.x_matrix;
                    const Side side_x = options.side_of_x().value_or(
                        x.size(1) <= x.size(2) ? Side::token : Side::channel);
                    Projector p{{side_x, random({2, x.size(side_x == Side::token ? 1 : 2)}, 7)}};
                    step_of(*layer.map, options, layer.x, {},
                            *keep == 'p' ? std::make_shared<const Projector>(p) : nullptr);
                }
}

TEST(Sketch, MayMakeOneProductAlone) {
    for (OneLayer& layer : every_layer())
        for (const char* side : {"token", "channel"}) {
            MethodOptions options{.method = "sketch", .side = side};
            options.own.set("[test]", rank_option(), std::int64_t{2});
            const Step exact = exact_step_of(*layer.map, layer.x);
            const Step both = step_of(*layer.map, options, layer.x);
            options.own.set("[test]", products_option(), std::string("g_w"));
            const Step gw = step_of(*layer.map, options, layer.x);  // its counts are tested too
            options.own.set("[test]", products_option(), std::string("g_x"));
            const Step gx = step_of(*layer.map, options, layer.x);
            SCOPED_TRACE(layer.shape.name + " " + side);
            EXPECT_TRUE(identical(gw.gw, both.gw));
            EXPECT_TRUE(identical(gw.gx, exact.gx));
            EXPECT_TRUE(identical(gx.gw, exact.gw));
            EXPECT_TRUE(identical(gx.gx, both.gx));
        }
}

TEST(Sketch, BeyondBreakEvenALayerMayStayExact) {
    OneLayer layer = one_linear();
    MethodOptions options{.method = "sketch"};
    options.own.set("[test]", rank_option(), std::int64_t{5});
    const Step compressed = step_of(*layer.map, options, layer.x);
    options.break_even = "vanilla";
    const Step left = step_of(*layer.map, options, layer.x);
    const Step exact = exact_step_of(*layer.map, layer.x);
    EXPECT_TRUE(identical(left.gx, exact.gx));
    EXPECT_FALSE(identical(compressed.gx, exact.gx));
}

TEST(Sketch, NoLayerCostsMoreThanWhatIsLeftWithoutIt) {
    OneLayer layer = one_linear();
    const LinearShape shape = layer.shape;
    const auto cost = [&](const MethodOptions& options) {
        const LinearCost c =
            linear_cost(shape, compression_of(shape, options), 4, Convention::executed);
        return c.g_w + c.g_x;
    };
    for (const char* keep : {"exact", "p"})
        for (const char* products : {"both", "g_w", "g_x"}) {
            MethodOptions left{.method = *keep == 'p' ? "compress-x" : "vanilla", .rank_x = 2};
            left.side = "token";
            MethodOptions options{.method = "sketch", .rank_x = 2, .side = "token"};
            options.break_even = "vanilla";
            options.own.set("[test]", keep_x_option(), std::string(keep));
            options.own.set("[test]", products_option(), std::string(products));
            for (std::int64_t rank = 1; rank <= 20; ++rank) {
                options.own.set("[test]", rank_option(), rank);
                EXPECT_LE(cost(options), cost(left)) << keep << " " << products << " " << rank;
            }
        }
}

TEST(Sketch, WhatIsQuantisedIsRightOnAverage) {
    const Tensor x = random({2, 3, 100});
    for (const int bits : {1, 2, 4, 8}) {
        Tensor mean = Tensor::zeros(x.shape());
        constexpr int draws = 400;
        double worst = 0;
        for (int i = 0; i < draws; ++i) {
            meter().reset();
            const Quantised q(x, bits, [&](std::int64_t sample) {
                return Stream(7, "test", static_cast<std::uint64_t>(i),
                              static_cast<std::uint32_t>(sample));
            });
            const Tensor back = q.unpack();
            EXPECT_EQ(meter().total(), 7 * x.numel());
            for (std::int64_t k = 0; k < x.numel(); ++k)
                worst = std::max(worst, std::abs(double{back.data()[k]} - x.data()[k]));
            mean = mean + back * (real(1) / draws);
        }
        // The values of a group spread over less than eight; one step is that over 2^bits − 1.
        const double step = 8.0 / ((1 << bits) - 1);
        EXPECT_LT(worst, step) << bits;
        EXPECT_LT(distance(mean, x) / std::sqrt(x.numel()), step / std::sqrt(draws)) << bits;
    }
    std::int64_t held = 0;
    const Quantised q(x, 4, [](std::int64_t) { return Stream(1, "test"); });
    for (const auto& storage : q.held()) held += static_cast<std::int64_t>(storage->bytes());
    EXPECT_EQ(held, 2 * (150 + 2 * 2 * number)) << "two groups a sample: 256 and 44 elements";
    EXPECT_EQ(held, QuantisedForm{.bits = 4}.bytes({300}, 2, number));
    EXPECT_EQ(error_of([&] { Quantised(x, 3, [](std::int64_t) { return Stream(1, "test"); }); }),
              "[codec] expected 1, 2, 4 or 8 bits, got 3");
}

TEST(Sketch, QuantisedEdgeCases) {
    const auto stream = [](std::int64_t) { return Stream(1, "test"); };
    const Tensor same = Tensor::full({2, 300}, real(0.7));
    EXPECT_TRUE(identical(Quantised(same, 4, stream).unpack(), same)) << "no range, no error";
    EXPECT_EQ(Quantised(Tensor({0, 4}), 4, stream).unpack().shape(), (Shape{0, 4}));
    // The ends of a group are met exactly, whatever is drawn.
    Tensor ends = Tensor::zeros({1, 2});
    ends.data()[1] = 3;
    EXPECT_TRUE(identical(Quantised(ends, 1, stream).unpack(), ends));
}

TEST(Sketch, ASampleIsQuantisedAlikeHoweverTheBatchIsSplit) {
    const Tensor x = random({4, 300});
    const auto stream = [](std::int64_t sample) {
        return Stream(1, "test", 0, static_cast<std::uint32_t>(sample));
    };
    const Tensor whole = Quantised(x, 4, stream).unpack();
    const Tensor half =
        Quantised(x.rows(2, 2).clone(), 4, [&](std::int64_t s) { return stream(s + 2); }).unpack();
    EXPECT_TRUE(identical(half, whole.rows(2, 2).clone()));
}

TEST(RankController, FindsTheSmallestRankThatKeepsEnough) {
    // Direction i of a layer holds 2^-i of the energy: five of them keep 1 − 1/32.
    const auto energies = [](std::int64_t rank) {
        std::vector<double> all;
        for (std::int64_t i = 1; i <= rank; ++i) all.push_back(std::pow(0.5, i));
        return all;
    };
    for (const std::int64_t first : {1, 4, 5, 20}) {
        RankController controller(0.04, first, 30);
        std::int64_t rank = 0;
        for (std::uint64_t step = 0; step < 20; ++step) {
            rank = controller.rank(step);
            controller.observe(step, energies(rank), 1);
        }
        EXPECT_EQ(rank, 5) << "from " << first;
    }
    RankController bounded(0.001, 2, 6);
    for (std::uint64_t step = 0; step < 20; ++step)
        bounded.observe(step, energies(bounded.rank(step)), 1);
    EXPECT_EQ(bounded.next_rank(), 6);
}

TEST(RankController, GoesOnFromACheckpoint) {
    const auto energies = [](std::uint64_t step, std::int64_t rank) {
        std::vector<double> all;
        for (std::int64_t i = 1; i <= rank; ++i)
            all.push_back(std::pow(step < 10 ? 0.5 : 0.8, i) * (step < 10 ? 1 : 0.25));
        return all;
    };
    RankController whole(0.02, 8, 40), parted(0.02, 8, 40);
    for (std::uint64_t step = 0; step < 25; ++step) {
        if (step % 7 == 3) {  // between two steps
            RankController next(0.02, 8, 40);
            next.set_rank(parted.next_rank());
            parted.set_rank(next.next_rank());
        }
        const std::int64_t rank = whole.rank(step);
        ASSERT_EQ(parted.rank(step), rank) << step;
        EXPECT_EQ(whole.rank(step), rank) << "the same all through a step";
        whole.observe(step, energies(step, rank), 1);
        parted.observe(step, energies(step, rank), 1);
    }
}

TEST(Sketch, WithAToleranceNoCallLosesMoreThanTwiceIt) {
    OneLayer layer = one_linear();
    layer.x = layer.x_matrix = random({2, 40, 5}, 1);
    const auto rule = std::make_shared<const SketchRule>(
        SketchRule::Options{.rank = 1, .tolerance = 0.05, .side = Side::token});
    layer.map->set_rule(rule);
    for (std::uint64_t step = 0; step < 12; ++step) {
        const Tensor gy = of_rank(step < 6 ? 1 : 2, {2, 40, 6}, 20 + step);
        layer.map->set_rule(ExactRule::instance());
        const Outcome exact = run(layer, {.step = step}, layer.x, gy);
        layer.map->set_rule(rule);
        const Outcome got = run(layer, {.step = step}, layer.x, gy);
        // gx = g W: what W makes of an error of 10 % of the energy.
        const double share = sum_squares(got.gx - exact.gx) / sum_squares(exact.gx);
        EXPECT_LT(share, 0.5) << step;
    }
}

}  // namespace
}  // namespace slimgrad
