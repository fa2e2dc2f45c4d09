// weight_rows: P of rows of x that are weighted by how large those of g are.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "instant/calibration/calibrator.h"
#include "instant/cost/cost_model.h"
#include "instant/methods/options.h"
#include "nn/linear.h"
#include "tensor/meter.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

constexpr std::int64_t batch = 4, tokens = 6, cx = 8, cy = 7;
constexpr double rounding = sizeof(real) == 8 ? 1e-10 : 2e-3;

struct One final : Module {
    One() { name_modules(*this); }
    Var forward(const Var& x) override { return linear.forward(x); }
    void visit(Visitor& visitor) override { visitor.module("linear", linear); }
    std::string kind() const override { return "one"; }
    Stream stream{1, "one"};
    Linear linear{cx, cy, stream};
};

MethodOptions weighted(std::int64_t rank, const std::string& method = "compress-x") {
    MethodOptions options{.method = method, .side = "token", .offset = "none", .batch = batch};
    options.rank_x = options.rank_g = rank;
    options.own.set("[test]", weight_rows_option(), true);
    return options;
}

Tensor x_of(std::uint64_t seed) { return random({batch, tokens, cx}, seed); }

/// Rows of very different size; `zero`: one of nothing.
Tensor g_of(std::uint64_t seed, std::int64_t zero = -1) {
    Tensor g = random({batch, tokens, cy}, 50 + seed);
    for (std::int64_t i = 0; i < g.numel(); ++i) {
        const std::int64_t row = i / cy % tokens;
        g.data()[i] *= row == zero ? real(0) : real(1) / static_cast<real>(1 + row * row);
    }
    return g;
}

Tensor gw_of(One& model, const Tensor& x, const Tensor& g) {
    zero_grad(model);
    Tape tape;
    tape.backward(model.forward(tape.input(x.clone())), g);
    return model.linear.weight().grad.dense().clone();
}

void calibrate(One& model, Calibrator& calibrator, std::int64_t zero = -1) {
    calibrator.calibrate([&] {
        for (const std::uint64_t seed : {1, 2}) gw_of(model, x_of(seed), g_of(seed, zero));
    });
}

/// D from the calibration's batches, as the design says, up to a factor.
std::vector<double> dense_weights() {
    std::vector<double> d(tokens);
    for (const std::uint64_t seed : {1, 2}) {
        const Tensor g = g_of(seed);
        for (std::int64_t i = 0; i < g.numel(); ++i)
            d[static_cast<std::size_t>(i / cy % tokens)] += double{g.data()[i]} * g.data()[i];
    }
    for (double& value : d) value = std::sqrt(value);
    return d;
}

TEST(WeightedRows, EqualTheDenseFormulas) {
    for (const std::int64_t rank : {1, 3, 5}) {
        One model;
        Calibrator calibrator(model, weighted(rank));
        calibrate(model, calibrator);
        const std::vector<double> d = dense_weights();
        Tensor c = Tensor::zeros({tokens, tokens});
        for (const std::uint64_t seed : {1, 2}) {
            const Tensor x = x_of(seed);
            for (std::int64_t i = 0; i < tokens; ++i)
                for (std::int64_t j = 0; j < tokens; ++j) {
                    double sum = 0;
                    for (std::int64_t b = 0; b < batch; ++b)
                        for (std::int64_t k = 0; k < cx; ++k)
                            sum += double{x.at({b, i, k})} * x.at({b, j, k});
                    c.at({i, j}) += static_cast<real>(sum * d[static_cast<std::size_t>(i)] *
                                                      d[static_cast<std::size_t>(j)]);
                }
        }
        const Tensor u = eigh(c).vectors.rows(0, rank);
        // M = D⁻¹ Uᵀ U D between g and x
        Tensor between = matmul(u, u, Op::transpose, Op::none);
        for (std::int64_t i = 0; i < tokens; ++i)
            for (std::int64_t j = 0; j < tokens; ++j)
                between.at({i, j}) *= static_cast<real>(d[static_cast<std::size_t>(j)] /
                                                        d[static_cast<std::size_t>(i)]);
        const Tensor x = x_of(3), g = g_of(3);
        expect_close(gw_of(model, x, g), matmul_sum(g, matmul(between, x)), "g_w", rounding);
    }
}

TEST(WeightedRows, FullRankIsVanilla) {
    One model;
    const Tensor x = x_of(3), g = g_of(3), exact = gw_of(model, x, g);
    Calibrator calibrator(model, weighted(tokens, "instant"));
    calibrate(model, calibrator);
    EXPECT_EQ(calibrator.ranks()[0].rank_x, tokens);
    expect_close(gw_of(model, x, g), exact, "g_w", sizeof(real) == 8 ? 1e-11 : 1e-4);
}

TEST(WeightedRows, ARowWithoutGradientIsLeftOut) {
    constexpr std::int64_t zero = 2;
    One model;
    Tensor x = x_of(3);
    const Tensor g = g_of(3, zero), exact = gw_of(model, x, g);
    Calibrator calibrator(model, weighted(tokens));
    calibrate(model, calibrator, zero);
    EXPECT_EQ(calibrator.ranks()[0].rank_x, tokens - 1);
    const Tensor gw = gw_of(model, x, g);
    expect_close(gw, exact, "g_w", sizeof(real) == 8 ? 1e-11 : 1e-4);
    for (std::int64_t b = 0; b < batch; ++b)
        for (std::int64_t k = 0; k < cx; ++k) x.at({b, zero, k}) = 1000;
    EXPECT_TRUE(identical(gw_of(model, x, g), gw)) << "what stands there is not seen";
    // No gradient at all: nothing to weight by.
    calibrator.calibrate([&] { gw_of(model, x_of(1), g_of(1) * 0); });
    EXPECT_EQ(calibrator.ranks()[0].rank_x, tokens);
}

TEST(WeightedRows, CostWhatTheClosedFormSays) {
    for (const std::int64_t complement : {0, 2}) {
        One model;
        MethodOptions options = weighted(3, "instant");
        options.own.set("[test]", complement_option(), complement);
        const auto shapes = trace_linear_maps(model, [&] {
            Tape tape;
            model.forward(tape.input(x_of(1)));
        });
        Calibrator calibrator(model, options);
        calibrate(model, calibrator);
        const LinearCost cost =
            model_cost(shapes, compressions_of(shapes, options), batch, Convention::executed).total;
        meter().reset();
        gw_of(model, x_of(3), g_of(3));
        EXPECT_EQ(meter().phase("compress"), cost.compress);
        EXPECT_EQ(meter().phase("g_w"), cost.g_w);
        EXPECT_EQ(meter().phase("g_x"), cost.g_x);
        std::int64_t numbers = 0;
        for (const auto& slot : calibrator.state())
            numbers += slot.weights.defined() ? 2 * slot.basis.numel() + slot.weights.numel()
                                              : slot.basis.numel();
        EXPECT_EQ(numbers * number_bytes, cost.projector_bytes);
    }
}

TEST(WeightedRows, ComeBackFromACheckpoint) {
    One model, other;
    Calibrator calibrator(model, weighted(3)), restored(other, weighted(3));
    calibrate(model, calibrator);
    restored.restore(calibrator.state());
    const Tensor x = x_of(3), g = g_of(3);
    EXPECT_TRUE(identical(gw_of(model, x, g), gw_of(other, x, g)));

    // What is watched has the sums of the rows.
    using Watch = Calibrator::Watch;
    calibrator.watch(Watch::exactly);
    gw_of(model, x_of(1), g_of(1));
    restored.restore_watched(calibrator.watched());
    calibrator.renew(0.5);
    restored.renew(0.5);
    EXPECT_TRUE(identical(calibrator.state()[0].basis, restored.state()[0].basis));
    EXPECT_TRUE(identical(calibrator.state()[0].weights, restored.state()[0].weights));
}

TEST(WeightedRows, LayersThatShareXWeightItTogether) {
    struct Twins final : Module {
        Twins() {
            a.set_input_group("qkv");
            b.set_input_group("qkv");
            name_modules(*this);
        }
        void visit(Visitor& v) override {
            v.module("a", a);
            v.module("b", b);
        }
        std::string kind() const override { return "twins"; }
        Stream stream{1, "twins"};
        Linear a{cx, cy, stream}, b{cx, cy, stream};
    } twins;
    Calibrator calibrator(twins, weighted(3));
    const Tensor ga = g_of(1, 0), gb = g_of(2, 1);  // each without a row of its own
    calibrator.calibrate([&] {
        Tape tape;
        const Var input = tape.input(x_of(1));
        const Var ya = twins.a.forward(input), yb = twins.b.forward(input);
        tape.backward(add(mul(ya, tape.constant(ga)), mul(yb, tape.constant(gb))),
                      Tensor::full({batch, tokens, cy}, 1));
    });
    const Tensor d = calibrator.state()[0].weights;
    for (std::int64_t i = 0; i < tokens; ++i) EXPECT_GT(d.at({i}), 0);
    double largest = 0;
    std::vector<double> sums(tokens);
    for (const Tensor& g : {ga, gb})
        for (std::int64_t i = 0; i < g.numel(); ++i)
            sums[static_cast<std::size_t>(i / cy % tokens)] += double{g.data()[i]} * g.data()[i];
    for (const double sum : sums) largest = std::max(largest, sum);
    for (std::int64_t i = 0; i < tokens; ++i)
        EXPECT_NEAR(d.at({i}), std::sqrt(sums[static_cast<std::size_t>(i)] / largest), 1e-5);
}

TEST(WeightedRows, TheChannelSideHasNone) {
    One model, plain;
    MethodOptions options = weighted(3), none = weighted(3);
    options.side = none.side = "channel";
    none.own.set("[test]", weight_rows_option(), false);
    Calibrator a(model, options), b(plain, none);
    const auto of_two_lengths = [](One& one) {
        gw_of(one, x_of(1), g_of(1));
        gw_of(one, random({batch, tokens + 1, cx}, 2), random({batch, tokens + 1, cy}, 3));
    };
    a.calibrate([&] { of_two_lengths(model); });
    b.calibrate([&] { of_two_lengths(plain); });
    EXPECT_TRUE(identical(a.state()[0].basis, b.state()[0].basis));
    EXPECT_FALSE(a.state()[0].weights.defined());
}

}  // namespace
}  // namespace slimgrad
