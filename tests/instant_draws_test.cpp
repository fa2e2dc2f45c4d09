#include <gtest/gtest.h>

#include <cmath>

#include "instant/calibration/calibrator.h"
#include "instant/lab/draw_study.h"
#include "instant/lab/range_finder.h"
#include "tests/error_of.h"
#include "tests/one_layer.h"

namespace slimgrad {
namespace {

constexpr double rounding = sizeof(real) == 8 ? 1e-12 : 1e-5;

double share(const Tensor& a, const Tensor& of) { return sum_squares(a) / sum_squares(of); }

TEST(DrawErrors, AreSplitInBiasAndVariance) {
    const Tensor exact = random({6, 50}), bias = random({6, 50}, 2) * real(0.3);
    std::vector<Tensor> draws;
    for (std::uint64_t k = 0; k < 40; ++k)
        draws.push_back(exact + bias + random({6, 50}, 10 + k) * real(0.5));
    DrawErrors errors;
    EXPECT_TRUE(errors.empty());
    errors.add(draws, exact);
    errors.add(draws, exact);  // shares stay as they are
    const Estimate of_bias = errors.bias(), variance = errors.variance(), error = errors.error();
    const double true_bias = share(bias, exact), true_variance = 300 * 0.25 / sum_squares(exact);
    EXPECT_NEAR(of_bias.value, true_bias, of_bias.margin);
    EXPECT_NEAR(variance.value, true_variance, variance.margin);
    EXPECT_NEAR(error.value, of_bias.value + variance.value, 1e-12);
    EXPECT_LT(of_bias.margin, 0.2 * true_bias);
    EXPECT_LT(variance.margin, 0.2 * true_variance);
    // Far more than the draws would give if bias and variance were not told apart.
    EXPECT_GT(share(draws[0] - exact, exact), true_bias + 0.5 * true_variance);
    EXPECT_NE(error_of([&] { errors.add({exact}, exact); }).find("as many draws as before, 40"),
              std::string::npos);
}

TEST(DrawErrors, OfOneDrawAreAllBias) {
    const Tensor exact = random({4, 4}), wrong = random({4, 4}, 2);
    DrawErrors errors;
    errors.add({wrong}, exact);
    EXPECT_NEAR(errors.error().value, share(wrong - exact, exact), rounding);
    EXPECT_EQ(errors.bias().value, errors.error().value);
    EXPECT_EQ(errors.variance().value, 0);
    EXPECT_EQ(errors.error().margin, 0);
}

/// A method on one layer, drawn often.
LayerDraws draws_of(OneLayer& layer, const std::string& method, std::int64_t rank,
                    std::int64_t draws) {
    MethodOptions options{.method = method};
    set_rank(options, rank);
    const Calibrator calibrator(*layer.map, options);
    const auto all = draw_errors(
        *layer.map, [&] { run(layer); }, draws);
    EXPECT_EQ(all.size(), 1u);
    return all.front();
}

TEST(DrawErrors, OfAnUnbiasedMethodAreVariance) {
    for (OneLayer& layer : every_layer()) {
        const LayerDraws draws = draws_of(layer, "random", 3, 200);
        for (const DrawErrors* errors : {&draws.gx, &draws.gw}) {
            EXPECT_NEAR(errors->bias().value, 0, errors->bias().margin) << layer.shape.name;
            EXPECT_GT(errors->variance().value, 10 * errors->bias().margin) << layer.shape.name;
        }
    }
}

TEST(DrawErrors, OfVanillaAreNone) {
    for (OneLayer& layer : every_layer()) {
        const LayerDraws draws = draws_of(layer, "vanilla", 3, 3);
        EXPECT_EQ(draws.gx.error().value, 0);
        EXPECT_EQ(draws.gw.error().value, 0);
    }
}

TEST(OptimalRule, IsTheBestOfItsRank) {
    for (OneLayer& layer : every_layer())
        for (const std::int64_t rank : {2, 50}) {
            LinearCall call = layer.call(0, 0);
            Saved saved({true, true});
            const auto& exact = ExactRule::instance();
            exact->save({layer.op, layer.x}, saved, call);
            const LinearGrads all = exact->backward({layer.op, layer.gy}, saved, call),
                              best =
                                  OptimalRule(rank, {}).backward({layer.op, layer.gy}, saved, call);
            if (rank == 50) {
                expect_close(best.gx, all.gx, layer.shape.name, 100 * rounding);
                expect_close(best.gw.dense(), all.gw.dense(), layer.shape.name, 100 * rounding);
                continue;
            }
            // W as the identity shows what is left of g itself.
            call.w = Tensor::zeros({layer.w.size(0), layer.w.size(0)});
            for (std::int64_t i = 0; i < call.w.size(0); ++i)
                call.w.data()[i * (call.w.size(0) + 1)] = 1;
            call.op = std::make_shared<TokenOperator>(layer.g_matrix.shape());
            call.needs.gw = false;
            const Tensor kept =
                OptimalRule(rank, {}).backward({call.op, layer.g_matrix}, saved, call).gx;
            RangeFinderStudy study(
                layer.g_matrix.size(1) <= layer.g_matrix.size(2) ? Side::token : Side::channel,
                {rank}, 20);
            study.add(layer.g_matrix, 1, 2);
            const RangeFinderLoss loss = study.losses().front();
            EXPECT_NEAR(share(kept - layer.g_matrix, layer.g_matrix), loss.optimum, 100 * rounding);
        }
}

TEST(RangeFinder, LosesWhatTheoryAllows) {
    const Tensor g = random({3, 16, 24});
    for (const Side side : {Side::token, Side::channel}) {
        RangeFinderStudy study(side, {3, 6, 10, 40}, 100);
        study.add(g, 1, 2);
        study.add(random({3, 16, 24}, 7), 1, 3);
        EXPECT_GT(study.beyond_the_first(), 0.5);
        const auto losses = study.losses();
        for (std::size_t i = 0; i + 1 < losses.size(); ++i) {
            const RangeFinderLoss& loss = losses[i];
            EXPECT_LT(loss.optimum, loss.powered) << loss.rank;
            EXPECT_LT(loss.powered, loss.sketched) << loss.rank;
            EXPECT_LT(loss.sketched, loss.bound) << loss.rank;
        }
        EXPECT_EQ(losses[0].bound, 1);
        EXPECT_LT(losses[2].bound, 1);
        EXPECT_NEAR(losses[3].sketched, 0, rounding);
    }
    RangeFinderStudy one(Side::token, {1}, 2);
    one.add(matmul(random({2, 5, 1}), random({2, 1, 4}, 3)), 1, 2);
    EXPECT_NEAR(one.beyond_the_first(), 0, rounding);
    EXPECT_NEAR(one.losses().front().sketched, 0, rounding);
    EXPECT_NE(error_of([] { RangeFinderStudy(Side::token, {1}, 0); }).find("at least one draw"),
              std::string::npos);
}

}  // namespace
}  // namespace slimgrad
