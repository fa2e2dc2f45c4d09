// INSTANT in drawn subspaces: what is drawn, that it is unbiased, and what it counts.
#include "instant/methods/random_rule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "instant/calibration/calibrator.h"
#include "instant/cost/cost_model.h"
#include "instant/lab/fieller.h"
#include "instant/methods/options.h"
#include "tensor/meter.h"
#include "tensor/ops.h"
#include "tests/error_of.h"
#include "tests/one_layer.h"

namespace slimgrad {
namespace {

MethodOptions with(Side side, std::optional<std::int64_t> rank = {}, std::int64_t redraw = 200) {
    MethodOptions options{.method = "random", .side = to_string(side)};
    if (rank) options.own.set("[test]", rank_option(), *rank);
    options.own.set("[test]", redraw_option(), redraw);
    return options;
}

TEST(RandomRule, EqualsItsDenseMeaningAndTheClosedFormsOnEverySide) {
    for (OneLayer& layer : every_layer())
        for (const Side side : {Side::token, Side::channel})
            for (const std::int64_t rank : {1, 3, 100}) {
                const MethodOptions options = with(side, rank);
                const auto rule = std::make_shared<const RandomRule>(options);
                const std::string what =
                    fmt::format("{} {} {}", layer.shape.name, to_string(side), rank);
                layer.map->set_rule(ExactRule::instance());
                const Outcome exact = run(layer);
                layer.map->set_rule(rule);
                meter().reset();
                const std::int64_t projectors = ledger()[Category::projectors].live;
                const Outcome low = run(layer, {.seed = 4, .step = 9});
                EXPECT_EQ(ledger()[Category::projectors].live, projectors);

                const LinearCall call = layer.call(4, 9);
                const auto p = rule->p(call), q = rule->q(call);
                EXPECT_TRUE(identical(low.y, exact.y)) << what;
                expect_close(low.gb, exact.gb, "g_b " + what);
                expect_close(low.gw, matmul_sum(layer.g_matrix, dense(*p, layer.x_matrix)),
                             "g_w " + what);
                expect_close(low.gx, layer.op->x_of(matmul(dense(*q, layer.g_matrix), layer.w)),
                             "g_x " + what);

                const Compression compression = compression_of(layer.shape, options);
                EXPECT_EQ(compression.rank_x, p->rank()) << what;
                EXPECT_EQ(compression.rank_g, q->rank()) << what;
                const LinearCost cost =
                    linear_cost(layer.shape, compression, 2, Convention::executed);
                const std::string& name = layer.shape.name;
                EXPECT_EQ(meter().count(name, "forward"), cost.forward) << what;
                EXPECT_EQ(meter().count(name, "compress"), cost.compress) << what;
                EXPECT_EQ(meter().count(name, "g_w"), cost.g_w) << what;
                EXPECT_EQ(meter().count(name, "g_x"), cost.g_x) << what;
                EXPECT_EQ(low.saved * 4, cost.saved_bytes * number) << what;
                EXPECT_EQ(cost.projector_bytes, 0);
            }
}

/// Sums of one estimate over draws: of a gradient along the exact one, and entry by entry.
class Estimate {
  public:
    explicit Estimate(Tensor exact)
        : exact_(std::move(exact)),
          sum_(Tensor::zeros(exact_.shape())),
          squares_(Tensor::zeros(exact_.shape())) {}

    void add(const Tensor& value) {
        double along = 0;
        for (std::int64_t i = 0; i < exact_.numel(); ++i)
            along += static_cast<double>(value.data()[i]) * exact_.data()[i];
        along /= sum_squares(exact_);
        ++n_, mean_ += along, square_ += along * along;
        sum_ = sum_ + value;
        squares_ = squares_ + value * value;
    }

    void expect_unbiased(const std::string& what) const {
        // Along the exact gradient the mean is 1: the interval holds it, and is narrow.
        const double n = static_cast<double>(n_), mean = mean_ / n;
        const double half =
            student_quantile(0.9999, n_ - 1) * std::sqrt((square_ / n - mean * mean) / n);
        EXPECT_NEAR(mean, 1, half) << what;
        EXPECT_LT(half, 0.15) << what;
        // And every entry's mean is that of the exact one.
        double chi = 0;
        for (std::int64_t i = 0; i < exact_.numel(); ++i) {
            const double m = sum_.data()[i] / n, variance = squares_.data()[i] / n - m * m;
            const double z = (m - exact_.data()[i]) / std::sqrt(variance / n);
            EXPECT_LT(std::abs(z), 5) << what << ", entry " << i;
            chi += z * z;
        }
        EXPECT_LT(chi / static_cast<double>(exact_.numel()), 2) << what;
    }

  private:
    Tensor exact_, sum_, squares_;
    std::int64_t n_ = 0;
    double mean_ = 0, square_ = 0;
};

TEST(RandomRule, BothGradientsAreUnbiasedOverSeeds) {
    for (OneLayer& layer : every_layer())
        for (const Side side : {Side::token, Side::channel}) {
            layer.map->set_rule(ExactRule::instance());
            const Outcome exact = run(layer);
            layer.map->set_rule(std::make_shared<const RandomRule>(with(side, 2)));
            Estimate gw(exact.gw), gx(exact.gx);
            for (std::uint64_t seed = 0; seed < 2000; ++seed) {
                const Outcome drawn = run(layer, {.seed = seed});
                gw.add(drawn.gw);
                gx.add(drawn.gx);
            }
            const std::string what = layer.shape.name + " " + to_string(side);
            gw.expect_unbiased("g_w " + what);
            gx.expect_unbiased("g_x " + what);
        }
}

// E‖PᵀP v‖² = (1 + (n + 1) / R) ‖v‖²: no rank makes PᵀP the identity.
TEST(RandomRule, FullRankIsNotExact) {
    OneLayer layer = one_linear();
    layer.map->set_rule(ExactRule::instance());
    const Outcome exact = run(layer);
    const auto rule = std::make_shared<const RandomRule>(with(Side::token, 1000));
    layer.map->set_rule(rule);
    const Outcome full = run(layer);
    EXPECT_GT(sum_squares(full.gw - exact.gw), 0.01 * sum_squares(exact.gw));
    EXPECT_GT(sum_squares(full.gx - exact.gx), 0.01 * sum_squares(exact.gx));

    double ratio = 0;
    constexpr int draws = 2000;
    for (std::uint64_t seed = 0; seed < draws; ++seed) {
        const auto p = rule->p(layer.call(seed, 0));
        EXPECT_EQ(p->rank(), p->dim());
        ratio += sum_squares(dense(*p, layer.x)) / sum_squares(layer.x) / draws;
    }
    EXPECT_NEAR(ratio, 1 + 8.0 / 7, 0.1);
}

TEST(RandomRule, ADrawIsAFunctionOfSeedGroupAndIntervalAlone) {
    OneLayer layer = one_linear();
    const RandomRule rule(with(Side::token, 3, 5)), other(with(Side::token, 3, 5));
    const auto p = [&](std::uint64_t seed, std::uint64_t step) {
        return rule.p(layer.call(seed, step))->basis;
    };
    const auto q = [&](std::uint64_t seed, std::uint64_t step) {
        return rule.q(layer.call(seed, step))->basis;
    };
    EXPECT_TRUE(identical(p(1, 5), p(1, 9)));
    EXPECT_TRUE(identical(q(1, 5), q(1, 9)));
    EXPECT_FALSE(identical(p(1, 4), p(1, 5)));
    EXPECT_FALSE(identical(q(1, 4), q(1, 5)));
    EXPECT_FALSE(identical(p(1, 5), p(2, 5)));
    EXPECT_FALSE(identical(p(1, 5), q(1, 5)));
    EXPECT_TRUE(identical(other.p(layer.call(1, 5))->basis, p(1, 5)));
    // Of a group all layers have one P, and each its own Q.
    LinearCall a = layer.call(1, 5), b = a;
    a.layer = "a", b.layer = "b";
    EXPECT_TRUE(identical(rule.p(a)->basis, rule.p(b)->basis));
    EXPECT_FALSE(identical(rule.q(a)->basis, rule.q(b)->basis));
    b.input_group = "b";
    EXPECT_FALSE(identical(rule.p(a)->basis, rule.p(b)->basis));

    const RandomRule once(with(Side::token, 3, 0));
    EXPECT_TRUE(
        identical(once.p(layer.call(1, 0))->basis, once.p(layer.call(1, 1'000'000))->basis));
}

TEST(RandomRule, AStepHasTheSameBitsWhateverRanBefore) {
    for (OneLayer& layer : every_layer()) {
        layer.map->set_rule(std::make_shared<const RandomRule>(with(Side::token, 3, 2)));
        Outcome last{};
        for (std::uint64_t step = 0; step < 6; ++step) last = run(layer, {.seed = 8, .step = step});
        layer.map->set_rule(std::make_shared<const RandomRule>(with(Side::token, 3, 2)));
        const Outcome resumed = run(layer, {.seed = 8, .step = 5});
        EXPECT_TRUE(identical(last.gw, resumed.gw));
        EXPECT_TRUE(identical(last.gx, resumed.gx));
    }
}

TEST(RandomRule, PartsOfABatchDrawWhatTheWholeDraws) {
    for (OneLayer& layer : every_layer())
        for (const Side side : {Side::token, Side::channel}) {
            layer.map->set_rule(std::make_shared<const RandomRule>(with(side, 3)));
            const Outcome whole = run(layer, {.seed = 8, .step = 5});
            Tensor gw = Tensor::zeros(whole.gw.shape());
            for (std::int64_t i = 0; i < 2; ++i) {
                const Outcome part = run(layer, {.seed = 8, .step = 5, .first_sample = i},
                                         layer.x.rows(i, 1).clone(), layer.gy.rows(i, 1).clone());
                gw = gw + part.gw;
                expect_close(part.gx, whole.gx.rows(i, 1), "g_x of a part");
            }
            expect_close(gw, whole.gw, "g_w of the parts");
        }
}

TEST(RandomRule, SidesAndRanksAreThoseOfEachSlot) {
    const LinearShape shape{"linear", 16, 12, 40, 16 * 12, "linear"};
    MethodOptions options{.method = "random"};
    const auto ranks = [&] {
        const Compression c = compression_of(shape, options);
        return std::tuple(c.side_x, c.rank_x.value(), c.side_g, c.rank_g.value());
    };
    EXPECT_EQ(ranks(), std::tuple(Side::channel, 3, Side::token, 4));  // N/4
    options.own.set("[test]", ratio_option(), std::int64_t{2});
    EXPECT_EQ(ranks(), std::tuple(Side::channel, 6, Side::token, 8));
    options.own.set("[test]", rank_option(), std::int64_t{14});
    EXPECT_EQ(ranks(), std::tuple(Side::channel, 12, Side::token, 14));
    options.rank_x = 5;
    options.side_g = "channel";
    EXPECT_EQ(ranks(), std::tuple(Side::channel, 5, Side::channel, 14));
    options.own.given(rank_option()) = std::int64_t{0};
    EXPECT_EQ(error_of([&] { validate(options); }),
              "[method] expected a whole number from 1 to 1000000 as rank, got 0");
    EXPECT_EQ(error_of([&] { options.own.set("[test]", redraw_option(), std::int64_t{-1}); }),
              "[test] expected a whole number from 0 to 1000000000 as redraw_every, got -1");
}

TEST(RandomRule, LayersOfOneInputShareOneProjectionAndOneOfThemMayRunTwice) {
    Stream stream(3, "shared");
    std::vector<std::unique_ptr<Linear>> qkv;
    for (const std::int64_t out : {8, 5, 5}) {
        qkv.push_back(std::make_unique<Linear>(8, out, stream));
        qkv.back()->set_input_group("qkv");
        qkv.back()->set_rule(std::make_shared<const RandomRule>(with(Side::token, 2)));
    }
    const Tensor x = random({4, 6, 8}, 1);
    meter().reset();
    Tape tape({.seed = 3});
    const Var in = tape.input(x);
    std::vector<Var> y;
    for (const auto& layer : qkv) y.push_back(layer->forward(in));
    EXPECT_EQ(ledger()[Category::saved].live, 4 * 2 * 8 * number);
    EXPECT_EQ(meter().phase("compress"), 4 * 2 * 2 * 6 * 8);

    // Twice in one graph, on another x too: both g_w are of one P.
    OneLayer twice = one_linear();
    const auto rule = std::make_shared<const RandomRule>(with(Side::token, 3));
    twice.map->set_rule(rule);
    const Tensor other = random(twice.x.shape(), 9);
    Tape graph({.seed = 3});
    const Var a = graph.input(twice.x), b = graph.input(other);
    const Var sum = twice.map->forward(a) + twice.map->forward(b);
    graph.backward(sum, twice.gy);
    const Tensor both =
        dense(*rule->p(twice.call(3, 0)), twice.x) + dense(*rule->p(twice.call(3, 0)), other);
    expect_close(twice.map->weight().grad.dense(), matmul_sum(twice.gy, both), "g_w of two calls");
}

TEST(RandomRule, FrozenLayersKeepNothingEvaluationAndSingleTokensAreExact) {
    for (OneLayer& layer : every_layer()) {
        const auto rule = std::make_shared<const RandomRule>(with(Side::token, 2));
        layer.map->set_rule(ExactRule::instance());
        const Outcome exact = run(layer);
        layer.map->set_rule(rule);
        {
            Tape tape({.training = false});
            const Var in = tape.input(layer.x), y = layer.map->forward(in);
            tape.backward(y, layer.gy);
            EXPECT_TRUE(identical(tape.gradient(in), exact.gx));
        }
        {
            meter().reset();
            Tape tape;  // nothing below trains
            const Var y = layer.map->forward(tape.constant(layer.x));
            tape.backward(y, layer.gy);
            EXPECT_EQ(meter().phase("g_x"), 0);
            EXPECT_GT(meter().phase("g_w"), 0);
        }
        set_requires_grad(*layer.map, false);
        meter().reset();
        Tape tape({.seed = 1});
        const Var in = tape.input(layer.x), y = layer.map->forward(in);
        EXPECT_EQ(ledger()[Category::saved].live, 0);
        tape.backward(y, layer.gy);
        expect_close(
            tape.gradient(in),
            layer.op->x_of(matmul(dense(*rule->q(layer.call(1, 0)), layer.g_matrix), layer.w)),
            "g_x of a frozen layer");
        EXPECT_EQ(meter().phase("compress") + meter().phase("g_w"), 0);
    }
    Stream stream(3, "pooled");
    Linear pooled(8, 6, stream);
    name_modules(pooled);
    const Calibrator calibrator(pooled, with(Side::channel, 2));
    EXPECT_FALSE(calibrator.needed());
    EXPECT_EQ(pooled.rule()->name(), "random");
    const Tensor x = random({4, 8}, 1), gy = random({4, 6}, 2);
    Tape tape;
    const Var in = tape.input(x), y = pooled.forward(in);
    tape.backward(y, gy);
    expect_close(pooled.weight().grad.dense(), matmul(gy, x, Op::transpose, Op::none), "g_w");
    expect_close(tape.gradient(in), matmul(gy, pooled.weight().value), "g_x");
}

}  // namespace
}  // namespace slimgrad
