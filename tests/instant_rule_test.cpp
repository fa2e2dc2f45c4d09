#include <gtest/gtest.h>

#include <cmath>

#include "instant/cost/cost_model.h"
#include "instant/methods/low_rank_rule.h"
#include "nn/linear.h"
#include "tensor/ops.h"

namespace slimgrad {
namespace {

constexpr real tolerance = sizeof(real) == 8 ? 1e-12 : 2e-5;

void expect_close(const Tensor& a, const Tensor& b, const std::string& what) {
    ASSERT_EQ(a.shape(), b.shape()) << what;
    const double scale = std::sqrt(sum_squares(b)) + 1e-30;
    EXPECT_LT(std::sqrt(sum_squares(a - b)) / scale, tolerance) << what;
}

/// A projector with `rank` orthonormal random rows, scaled by 1/√e as an offset would.
std::shared_ptr<const Projector> random_projector(Side side, std::int64_t dim, std::int64_t rank,
                                                  std::uint64_t seed, real e = 0.9) {
    Stream stream(seed, "projector");
    const Tensor a = normal({dim, dim}, 0, 1, stream);
    auto projector = std::make_shared<Projector>();
    projector->side = side;
    projector->basis =
        eigh(matmul(a, a, Op::none, Op::transpose)).vectors.rows(0, rank) * (1 / std::sqrt(e));
    return projector;
}

struct Case {
    std::int64_t batch, tokens, cx, cy, rank_x, rank_g;
};

/// One linear layer, run under a rule; and what the meter and the ledger say of it.
struct Outcome {
    Tensor y, gx, gw, gb;
    LinearCost measured;
};

Outcome run(const Case& c, std::shared_ptr<const BackwardRule> rule) {
    Stream stream(7, "layer");
    Linear layer(c.cx, c.cy, stream);
    layer.set_rule(std::move(rule));
    const Tensor x = normal({c.batch, c.tokens, c.cx}, 0, 1, stream);
    const Tensor gy = normal({c.batch, c.tokens, c.cy}, 0, 1, stream);

    meter().reset();
    Outcome result;
    Tape tape;
    const Var input = tape.input(x.clone());
    Var y = layer.forward(input);
    result.y = y.value();
    result.measured.saved_bytes = ledger()[Category::saved].live;
    tape.backward(y, gy);
    result.gx = tape.gradient(input);
    result.gw = layer.weight().grad.dense();
    result.gb = layer.bias()->grad.dense();
    result.measured.forward = meter().count("linear", "forward");
    result.measured.compress = meter().count("linear", "compress");
    result.measured.g_w = meter().count("linear", "g_w");
    result.measured.g_x = meter().count("linear", "g_x");
    EXPECT_EQ(ledger()[Category::saved].live, 0);
    return result;
}

/// Multiplies the axis of `side` by PᵀP: the dense meaning of a projection.
Tensor dense_projection(const Projector& p, const Tensor& x) {
    const Tensor square = matmul(p.basis, p.basis, Op::transpose, Op::none);
    return p.side == Side::token ? matmul(square, x) : matmul(x, square);
}

const std::vector<Case> cases = {{3, 10, 7, 5, 4, 3}, {1, 6, 9, 8, 1, 1}, {2, 5, 4, 6, 4, 4}};

TEST(LowRankRule, EqualsItsDenseMeaningInEveryModeAndSide) {
    for (const Case& c : cases)
        for (const Side side_x : {Side::token, Side::channel})
            for (const Side side_g : {Side::token, Side::channel})
                for (const bool with_p : {false, true})
                    for (const bool with_q : {false, true}) {
                        const auto p = with_p ? random_projector(
                                                    side_x, side_x == Side::token ? c.tokens : c.cx,
                                                    c.rank_x, 1)
                                              : nullptr;
                        const auto q = with_q ? random_projector(
                                                    side_g, side_g == Side::token ? c.tokens : c.cy,
                                                    c.rank_g, 2)
                                              : nullptr;
                        const Outcome exact = run(c, ExactRule::instance());
                        const Outcome low = run(c, std::make_shared<LowRankRule>(p, q));
                        const std::string what =
                            fmt::format("sides {} {}, P {}, Q {}", to_string(side_x),
                                        to_string(side_g), with_p, with_q);

                        Stream stream(7, "layer");  // the same draws as in run()
                        Linear layer(c.cx, c.cy, stream);
                        const Tensor x = normal({c.batch, c.tokens, c.cx}, 0, 1, stream);
                        const Tensor gy = normal({c.batch, c.tokens, c.cy}, 0, 1, stream);
                        const Tensor x_tilde = p ? dense_projection(*p, x) : x;
                        const Tensor gy_tilde = q ? dense_projection(*q, gy) : gy;

                        EXPECT_TRUE(identical(low.y, exact.y)) << what;
                        EXPECT_TRUE(identical(low.gb, exact.gb)) << what;
                        expect_close(low.gw, matmul_sum(gy, x_tilde), "g_w, " + what);
                        expect_close(low.gx, matmul(gy_tilde, layer.weight().value),
                                     "g_x, " + what);
                    }
}

TEST(LowRankRule, FullRankWithoutOffsetIsVanilla) {
    for (const Case& c : cases)
        for (const Side side : {Side::token, Side::channel}) {
            const auto full = [&](std::int64_t channels, std::uint64_t seed) {
                const std::int64_t dim = side == Side::token ? c.tokens : channels;
                return random_projector(side, dim, dim, seed, 1);
            };
            const Outcome exact = run(c, ExactRule::instance());
            const Outcome low = run(c, std::make_shared<LowRankRule>(full(c.cx, 1), full(c.cy, 2)));
            expect_close(low.gw, exact.gw, "g_w");
            expect_close(low.gx, exact.gx, "g_x");
        }
}

TEST(LowRankRule, MeterAndLedgerEqualTheClosedForms) {
    for (const Case& c : cases)
        for (const Side side_x : {Side::token, Side::channel})
            for (const Side side_g : {Side::token, Side::channel})
                for (const bool with_p : {false, true})
                    for (const bool with_q : {false, true}) {
                        LinearShape shape{"linear", c.tokens,        c.cx,
                                          c.cy,     c.tokens * c.cx, "linear"};
                        Compression compression;
                        compression.side_x = side_x;
                        compression.side_g = side_g;
                        if (with_p) compression.rank_x = c.rank_x;
                        if (with_q) compression.rank_g = c.rank_g;
                        const auto p = random_projector(
                            side_x, side_x == Side::token ? c.tokens : c.cx, c.rank_x, 1);
                        const auto q = random_projector(
                            side_g, side_g == Side::token ? c.tokens : c.cy, c.rank_g, 2);
                        const LinearCost measured =
                            run(c, std::make_shared<LowRankRule>(with_p ? p : nullptr,
                                                                 with_q ? q : nullptr))
                                .measured;
                        const LinearCost expected =
                            linear_cost(shape, compression, c.batch, Convention::executed);
                        EXPECT_EQ(measured.forward, expected.forward);
                        EXPECT_EQ(measured.compress, expected.compress);
                        EXPECT_EQ(measured.g_w, expected.g_w);
                        EXPECT_EQ(measured.g_x, expected.g_x);
                        EXPECT_EQ(measured.saved_bytes * 4,
                                  expected.saved_bytes * static_cast<std::int64_t>(sizeof(real)));
                    }
}

TEST(LowRankRule, QueriesKeysAndValuesShareOneProjectedInput) {
    Stream stream(3, "shared");
    Linear q(8, 8, stream), k(8, 8, stream), v(8, 8, stream);
    const auto rule =
        std::make_shared<LowRankRule>(random_projector(Side::token, 6, 2, 1), nullptr);
    for (Linear* layer : {&q, &k, &v}) layer->set_rule(rule);
    meter().reset();
    Tape tape;
    const Var x = tape.input(normal({4, 6, 8}, 0, 1, stream));
    const Var a = q.forward(x), b = k.forward(x), c = v.forward(x);
    EXPECT_EQ(ledger()[Category::saved].live, 4 * 2 * 8 * static_cast<std::int64_t>(sizeof(real)));
    EXPECT_EQ(meter().phase("compress"), 4 * 2 * 2 * 6 * 8);
}

TEST(LowRankRule, OtherLengthThanCalibratedIsAnErrorThatNamesTheLayer) {
    Stream stream(3, "length");
    Linear layer(8, 8, stream);
    layer.set_rule(std::make_shared<LowRankRule>(random_projector(Side::token, 6, 2, 1), nullptr));
    Tape tape;
    try {
        layer.forward(tape.input(Tensor::zeros({2, 5, 8})));
        FAIL() << "expected an Error";
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("[linear] calibrated for 6 tokens"),
                  std::string::npos)
            << error.what();
    }
}

TEST(LowRankRule, FrozenLayerKeepsNothingAndEvaluationIsExact) {
    Stream stream(3, "frozen");
    Linear layer(8, 8, stream);
    layer.set_rule(std::make_shared<LowRankRule>(random_projector(Side::token, 6, 2, 1),
                                                 random_projector(Side::token, 6, 2, 2)));
    set_requires_grad(layer, false);
    {
        Tape tape;
        const Var y = layer.forward(tape.input(normal({2, 6, 8}, 0, 1, stream)));
        EXPECT_EQ(ledger()[Category::saved].live, 0);
        tape.backward(y, Tensor::full(y.shape(), 1));
        EXPECT_FALSE(layer.weight().grad.defined());
    }
    TapeOptions evaluation;
    evaluation.training = false;
    Tape tape(evaluation);
    const Tensor gy = normal({2, 6, 8}, 0, 1, stream);
    const Var x = tape.input(normal({2, 6, 8}, 0, 1, stream));
    tape.backward(layer.forward(x), gy);
    expect_close(tape.gradient(x), matmul(gy, layer.weight().value), "exact g_x");
}

TEST(Truncation, CountsSquaresOfEigenvaluesAndHandlesDegenerateSpectra) {
    const std::vector<double> spectrum = {4, 2, 1, 1};  // squares 16, 4, 1, 1 of 22
    const auto rank = [&](double epsilon, std::int64_t p = 0) {
        return truncated_rank(spectrum, {epsilon, p, std::nullopt, Offset::none});
    };
    EXPECT_EQ(rank(0.7), 1);
    EXPECT_EQ(rank(16.0 / 22), 1);
    EXPECT_EQ(rank(0.9), 2);
    EXPECT_EQ(rank(0.95), 3);
    EXPECT_EQ(rank(1), 4);
    EXPECT_EQ(rank(0.7, 2), 3);
    EXPECT_EQ(rank(0.7, 50), 4);
    EXPECT_EQ(truncated_rank({0, 0, 0}, {0.95, 1, std::nullopt, Offset::none}), 2);
    EXPECT_EQ(truncated_rank({3, -1e-9, -5}, {0.95, 0, std::nullopt, Offset::none}), 1);
    EXPECT_EQ(truncated_rank(spectrum, {0.95, 9, 2, Offset::none}), 2);
    EXPECT_EQ(truncated_rank(spectrum, {0.95, 9, 99, Offset::none}), 4);
}

TEST(Truncation, OffsetsScaleBySharesOfSquaresOrOfFirstPowers) {
    EigenDecomposition spectrum{{4, 2, 1, 1}, Tensor::zeros({4, 4})};
    for (std::int64_t i = 0; i < 4; ++i) spectrum.vectors.at({i, i}) = 1;
    const auto corner = [&](Offset offset) {
        return make_projector(spectrum, Side::token, {0.9, 0, std::nullopt, offset})
            .basis.at({0, 0});
    };
    EXPECT_NEAR(corner(Offset::none), 1, 1e-6);
    EXPECT_NEAR(corner(Offset::energy), std::sqrt(22.0 / 20), 1e-6);
    EXPECT_NEAR(corner(Offset::signal), std::sqrt(8.0 / 6), 1e-6);
    spectrum.values = {0, 0, 0, 0};
    EXPECT_NEAR(corner(Offset::energy), 1, 1e-6);
}

}  // namespace
}  // namespace slimgrad
