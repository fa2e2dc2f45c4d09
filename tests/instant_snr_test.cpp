#include "instant/lab/snr.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "instant/lab/fieller.h"
#include "instant/lab/snr_source.h"
#include "instant/methods/low_rank_rule.h"
#include "nn/linear.h"
#include "temporary.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace slimgrad {
namespace {

constexpr double tolerance = std::is_same_v<real, double> ? 1e-10 : 1e-4;
constexpr double infinity = std::numeric_limits<double>::infinity();

#define EXPECT_CLOSE(a, b) EXPECT_NEAR((a) / (b), 1, tolerance)

SnrMeasured measure(const SnrSource& source, const GradientModes& modes, const SnrTheory& theory,
                    std::uint64_t draw, std::int64_t samples = 10000) {
    SnrMeasurement measurement(modes.side, modes.basis, source.weight());
    measurement.add(source.draw(0, samples, draw));
    return measurement.at(theory.rank, theory.alpha);
}
bool inside(double value, const SnrMeasured& measured) {
    return measured.low <= value && value <= measured.high;
}

// The claim of Appendix C, where it holds: 20 seeds × 5 ε, 10 000 fresh samples each.
TEST(Snr, PredictedLiesInTheIntervalOfSeparableGradients) {
    int hits = 0, exact_hits = 0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        const SnrSource source({.seed = seed});
        const GradientModes modes = source.modes();
        std::uint64_t draw = 0;
        for (const double epsilon : {0.8, 0.9, 0.95, 0.99, 0.999}) {
            const SnrTheory theory = snr_theory(modes, {.epsilon = epsilon});
            const SnrMeasured measured = measure(source, modes, theory, draw++);
            EXPECT_CLOSE(theory.predicted, theory.exact);
            hits += inside(theory.predicted, measured);
            exact_hits += inside(theory.exact, measured);
        }
    }
    EXPECT_GE(hits, 92) << "of 100";
    EXPECT_EQ(hits, exact_hits);
}

// ... and where it does not: the discarded modes meet the large directions of W.
TEST(Snr, ExactHoldsForNonSeparableGradientsAndPredictedIsOffByTheContrast) {
    int exact_hits = 0, predicted_hits = 0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        const SnrSource source({.separable = false, .seed = seed});
        const GradientModes modes = source.modes();
        const SnrTheory plain = snr_theory(modes, {.epsilon = 0.95, .offset = SnrOffset::none});
        EXPECT_EQ(plain.rank, source.options().cut);
        EXPECT_CLOSE(plain.predicted / plain.exact, 16);

        const SnrTheory paper = snr_theory(modes, {.epsilon = 0.95});
        EXPECT_NEAR(paper.predicted / paper.exact, 15.78, 0.01);
        const SnrMeasured measured = measure(source, modes, paper, 0);
        exact_hits += inside(paper.exact, measured);
        predicted_hits += inside(paper.predicted, measured);
    }
    EXPECT_GE(exact_hits, 18) << "of 20";
    EXPECT_EQ(predicted_hits, 0);
}

TEST(Snr, TheChannelSideHasTheSameTheory) {
    for (const bool separable : {true, false}) {
        int hits = 0;
        for (std::uint64_t seed = 0; seed < 10; ++seed) {
            const SnrSource source({.separable = separable, .seed = seed});
            const GradientModes modes = source.modes(Side::channel);
            const SnrTheory theory = snr_theory(modes, {.epsilon = 0.9, .side = Side::channel});
            hits += inside(theory.exact, measure(source, modes, theory, 0, 5000));
        }
        EXPECT_GE(hits, 8) << "of 10";
    }
}

/// ‖·‖² of the kept and of the lost part, by the rule that training uses.
std::pair<double, double> by_the_rule(const Tensor& g, const Tensor& w, const GradientModes& modes,
                                      std::int64_t rank, double alpha) {
    auto q = std::make_shared<Projector>();
    q->side = modes.side;
    q->basis = modes.basis.rows(0, rank) * static_cast<real>(std::sqrt(alpha));
    const LowRankRule rule(nullptr, q);
    const Saved saved({true, false});
    const auto op = std::make_shared<TokenOperator>(Shape{g.size(0), g.size(1), w.size(1)});
    const Tensor kept = rule.backward({op, g}, saved, {op, w, {.gx = true}}).gx;
    return {sum_squares(kept), sum_squares(matmul(g, w) - kept)};
}

TEST(Snr, MeasuresWhatTheBackwardRuleDoes) {
    Stream stream(3, "snr test");
    const Tensor g = normal({40, 6, 5}, 0, 1, stream), w = normal({5, 7}, 0, 1, stream);
    for (const Side side : {Side::token, Side::channel}) {
        const Snr whole = snr(g, w, {.side = side});
        SnrMeasurement measurement(side, whole.modes.basis, w);
        for (std::int64_t i = 0; i < 40; i += 8) measurement.add(g.rows(i, 8));
        for (std::int64_t rank = 1; rank < (side == Side::token ? 6 : 5); ++rank)
            for (const double alpha : {1.0, 1 / 0.9, 1.7, 0.5}) {
                const auto [signal, noise] = by_the_rule(g, w, whole.modes, rank, alpha);
                EXPECT_CLOSE(measurement.at(rank, alpha).value, signal / noise);
            }
        // A basis that does not belong to these gradients, as after some steps of training.
        const SnrSource other({.tokens = 6, .out_channels = 5, .in_channels = 7, .seed = 9});
        const GradientModes stale = other.modes(side);
        SnrMeasurement later(side, stale.basis, w);
        later.add(g);
        const auto [signal, noise] = by_the_rule(g, w, stale, 3, 1.2);
        EXPECT_CLOSE(later.at(3, 1.2).value, signal / noise);
    }
}

TEST(Snr, ExactEqualsMeasuredOnItsOwnSamples) {
    Stream stream(4, "snr test");
    const Tensor g = normal({50, 6, 5}, 0, 1, stream), w = normal({5, 7}, 0, 1, stream);
    for (const Side side : {Side::token, Side::channel})
        for (const SnrOffset offset :
             {SnrOffset::paper, SnrOffset::none, SnrOffset::energy, SnrOffset::signal}) {
            const Snr s = snr(g, w, {.epsilon = 0.8, .offset = offset, .side = side});
            EXPECT_CLOSE(s.theory.exact, s.measured.value);
            EXPECT_TRUE(inside(s.theory.exact, s.measured));
            EXPECT_EQ(s.measured.samples, 50);
            EXPECT_CLOSE(s.theory.Sw + s.theory.Nw, sum_squares(matmul(g, w)) / 50);
            EXPECT_CLOSE(s.theory.S + s.theory.N, sum_squares(g) / 50);
        }
}

TEST(Snr, TheBestScaleIsOnePlusNoiseOverSignal) {
    const SnrSource source({.seed = 1});
    const GradientModes modes = source.modes();
    SnrMeasurement measurement(modes.side, modes.basis, source.weight());
    measurement.add(source.draw(0, 10000));
    for (const double epsilon : {0.8, 0.95}) {
        const SnrTheory best = snr_theory(modes, {.epsilon = epsilon, .offset = SnrOffset::signal});
        EXPECT_CLOSE(best.alpha, best.best_alpha);
        EXPECT_CLOSE(best.predicted, (best.S + best.N) / best.N);
        const SnrTheory plain = snr_theory(modes, {.epsilon = epsilon, .offset = SnrOffset::none});
        EXPECT_CLOSE(plain.predicted, plain.S / plain.N);

        const double step = 0.01;
        double at_predicted = 0, at_measured = 0, most_predicted = 0, most_measured = 0;
        for (double alpha = 0.8; alpha < 2.2; alpha += step) {
            const double predicted = snr_of(alpha, best.S, best.N);
            const double measured = measurement.at(best.rank, alpha).value;
            if (predicted > most_predicted) most_predicted = predicted, at_predicted = alpha;
            if (measured > most_measured) most_measured = measured, at_measured = alpha;
        }
        EXPECT_NEAR(at_predicted, best.best_alpha, step);
        EXPECT_NEAR(at_measured, best.best_alpha, step);
        EXPECT_LE(most_predicted, best.predicted);
        // The paper's 1/ε: a share of σ², where the best scale asks for one of σ.
        EXPECT_LT(snr_theory(modes, {.epsilon = epsilon}).predicted, best.predicted);
    }
}

TEST(Snr, NeighbouringThresholdsChooseOneRank) {
    const GradientModes modes = SnrSource({}).modes();
    std::int64_t last = 0, changes = 0;
    double previous = 0;
    for (double epsilon = 0.7; epsilon <= 0.999; epsilon += 0.001) {
        const SnrTheory theory = snr_theory(modes, {.epsilon = epsilon});
        if (theory.rank == last) {
            // The segments are not flat: 1/ε still moves, towards the MSE's best scale.
            EXPECT_NE(theory.predicted, previous);
        } else {
            EXPECT_GT(theory.rank, last);
            ++changes;
        }
        last = theory.rank;
        previous = theory.predicted;
    }
    EXPECT_GE(changes, 5);
    EXPECT_LE(changes, 12);
    EXPECT_EQ(snr_theory(modes, {.epsilon = 0.95, .oversample = 3}).rank,
              snr_theory(modes, {.epsilon = 0.95}).rank + 3);
}

TEST(Snr, EndsAreDefined) {
    const GradientModes modes = SnrSource({}).modes();
    EXPECT_EQ(snr_theory(modes, {.epsilon = 1}).predicted, infinity);
    EXPECT_EQ(snr_theory(modes, {.rank = 99}).rank, 12);
    EXPECT_EQ(snr_theory(modes, {.rank = 99, .alpha = 1.0}).exact, infinity);
    // With a scale, the kept part alone is off by (α−1)/α.
    EXPECT_CLOSE(snr_theory(modes, {.rank = 99, .alpha = 2.0}).exact, 4);

    Stream stream(5, "snr test");
    const Tensor g = normal({20, 4, 3}, 0, 1, stream), w = normal({3, 5}, 0, 1, stream);
    const Snr full = snr(g, w, {.epsilon = 1});
    EXPECT_EQ(full.measured.value, infinity);
    EXPECT_EQ(full.measured.low, infinity);
    const Snr nothing = snr(Tensor::zeros({20, 4, 3}), w);
    EXPECT_EQ(nothing.theory.rank, 1);
    EXPECT_TRUE(std::isnan(nothing.theory.predicted));
    EXPECT_TRUE(std::isnan(nothing.measured.value));
    const Snr one = snr(g.rows(0, 1), w, {.epsilon = 0.8});
    EXPECT_EQ(one.measured.low, 0);
    EXPECT_EQ(one.measured.high, infinity);
    EXPECT_EQ(snr(normal({20, 1, 3}, 0, 1, stream), w).theory.rank, 1);
}

TEST(Snr, BadInputIsRefused) {
    Tensor g = Tensor::zeros({3, 4, 5});
    const Tensor w = Tensor::zeros({5, 2});
    expect_error([&] { snr(Tensor::zeros({3, 4}), w); }, {"(samples, tokens, channels)", "(3, 4)"});
    expect_error([&] { snr(Tensor::zeros({0, 4, 5}), w); }, {"(0, 4, 5)"});
    expect_error([&] { snr(g, Tensor::zeros({4, 2})); }, {"4 channels", "(3, 4, 5)"});
    expect_error([&] { snr(g, Tensor::zeros({5})); }, {"weight", "(5,)"});
    expect_error([&] { snr(g, w, {.epsilon = 0}); }, {"epsilon", "0"});
    expect_error([&] { snr(g, w, {.oversample = -1}); }, {"oversample"});
    expect_error([&] { snr(g, w, {.rank = 0}); }, {"rank"});
    expect_error([&] { snr(g, w, {.alpha = -1}); }, {"alpha"});
    expect_error([&] { snr(g, w, {.confidence = 1}); }, {"confidence"});
    expect_error([] { parse_snr_offset("half"); }, {"half", "paper, none, energy, signal"});
    g.at({2, 1, 1}) = std::numeric_limits<real>::quiet_NaN();
    expect_error([&] { snr(g, w); }, {"sample 2", "nan"});
    Tensor bad = w.clone();
    bad.at({0, 0}) = std::numeric_limits<real>::infinity();
    expect_error([&] { snr(Tensor::zeros({3, 4, 5}), bad); }, {"weight", "not finite"});
    expect_error([] { GradientCovariance(Side::token).modes(); }, {"got none"});
    GradientCovariance covariance(Side::token);
    covariance.add(Tensor::zeros({1, 4, 5}));
    expect_error([&] { covariance.add(Tensor::zeros({1, 6, 5})); }, {"4 tokens", "(1, 6, 5)"});
    expect_error([] { SnrSource({.out_channels = 9, .in_channels = 8}); }, {"in_channels"});
    expect_error([] { SnrSource({.cut = 12}); }, {"cut"});
}

TEST(SnrSource, SamplesHaveTheStatedCovariance) {
    for (const bool separable : {true, false}) {
        const SnrSource source({.separable = separable, .seed = 2});
        const GradientModes modes = source.modes();
        const Tensor g = source.draw(0, 20000);
        const Tensor hat = matmul(modes.basis, g);
        for (std::int64_t i = 0; i < 12; ++i) {
            const double energy = sum_squares(slice(hat, 1, i, 1)) / 20000;
            EXPECT_NEAR(energy / modes.sigma[static_cast<std::size_t>(i)], 1, 0.05);
        }
        SnrMeasurement measurement(Side::token, modes.basis, source.weight());
        measurement.add(g);
        for (std::size_t i = 0; i < 12; ++i)
            EXPECT_NEAR(measurement.weighted()[i] / modes.weighted[i], 1, 0.05);
    }
}

TEST(SnrSource, ASampleDependsOnItsNumberAlone) {
    const SnrSource source({.seed = 4});
    const Tensor all = source.draw(0, 10);
    const Tensor some = source.draw(6, 3);
    for (std::int64_t i = 0; i < some.numel(); ++i)
        EXPECT_EQ(some.data()[i], all.rows(6, 3).data()[i]);
    EXPECT_FALSE(identical(all, source.draw(0, 10, 1)));
    EXPECT_FALSE(identical(all, SnrSource({.seed = 5}).draw(0, 10)));
    // The last sample that the stream can tell apart; the next would be the first again.
    constexpr std::int64_t end = std::int64_t{1} << 32;
    EXPECT_FALSE(identical(source.draw(end - 1, 1), source.draw(0, 1)));
    EXPECT_THROW(source.draw(end, 1), Error);
    EXPECT_THROW(source.draw(1, std::numeric_limits<std::int64_t>::max()), Error);
}

TEST(Fieller, QuantilesAreThoseOfTables) {
    EXPECT_NEAR(student_quantile(0.99, 1000000), 2.5758, 1e-3);
    EXPECT_NEAR(student_quantile(0.95, 10), 2.2281, 1e-3);
    EXPECT_NEAR(student_quantile(0.99, 30), 2.7500, 1e-3);
    EXPECT_NEAR(student_quantile(0.99, 8), 3.3554, 0.01);
    EXPECT_EQ(student_quantile(0.99, 0), infinity);
}

// Few samples whose sizes differ widely, as those of gradients do: the interval must keep its
// promise there too, where that of the delta method does not.
TEST(Fieller, HoldsTheTruthAsOftenAsItSays) {
    Stream stream(6, "fieller");
    constexpr int rounds = 4000, n = 24;
    constexpr double confidence = 0.99, truth = 3.5 / 0.7;
    int hits = 0, delta_hits = 0;
    for (int round = 0; round < rounds; ++round) {
        double s = 0, v = 0, ss = 0, vv = 0, sv = 0;
        for (int i = 0; i < n; ++i) {
            const double size = std::exp(static_cast<double>(stream.normal()));
            const double a = size * (3 + stream.uniform());
            const double b = size * 1.4 * stream.uniform();
            s += a / n, v += b / n, ss += a * a / n, vv += b * b / n, sv += a * b / n;
        }
        const double k = n / (n - 1.0);
        const PairedMeans means{.s = s,
                                .v = v,
                                .var_s = k * (ss - s * s),
                                .var_v = k * (vv - v * v),
                                .cov = k * (sv - s * v),
                                .n = n};
        const Interval interval = fieller(means, confidence);
        hits += interval.low <= truth && truth <= interval.high;
        const double ratio = s / v;
        const double variance =
            (means.var_s - 2 * ratio * means.cov + ratio * ratio * means.var_v) / n;
        delta_hits += std::abs(ratio - truth) <=
                      student_quantile(confidence, n - 1) * std::sqrt(variance) / v;
    }
    RecordProperty("fieller", hits);
    RecordProperty("delta", delta_hits);
    EXPECT_GE(hits, 0.985 * rounds);
    EXPECT_LE(delta_hits, 0.98 * rounds);
}

TEST(Fieller, IsUnboundedWhereTheNoiseMayVanish) {
    const Interval open = fieller({.s = 1, .v = 0.1, .var_s = 0.1, .var_v = 1, .n = 10}, 0.99);
    EXPECT_GT(open.low, 0);
    EXPECT_EQ(open.high, infinity);
    EXPECT_EQ(fieller({.s = 1, .v = 1, .n = 1}, 0.99).high, infinity);
}

}  // namespace
}  // namespace slimgrad
