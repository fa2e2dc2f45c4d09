// Subspaces, ranks and relative errors do not depend on the scale of x and g.
#include <gtest/gtest.h>

#include <cmath>

#include "instant/calibration/gram.h"
#include "instant/calibration/projector.h"
#include "instant/lab/gradient_study.h"
#include "instant/lab/lab.h"
#include "instant/lab/snr.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace slimgrad {
namespace {

/// Powers of two from which squares under- and overflow; and the largest that are ordinary.
std::vector<int> extremes() {
    return sizeof(real) == 4 ? std::vector<int>{-120, -80, -41, 41, 100}
                             : std::vector<int>{-900, -520, -256, 256, 500};
}

/// x with a spectrum that falls, (samples, tokens, channels).
Tensor falling(std::int64_t samples, std::int64_t tokens, std::int64_t channels,
               const char* purpose) {
    Stream stream(3, purpose);
    Tensor x = normal({samples, tokens, channels}, 0, 1, stream);
    const Tensor mix = normal({tokens, tokens}, 0, 1, stream);
    for (std::int64_t i = 0; i < x.numel(); ++i)
        x.data()[i] *= static_cast<real>(std::pow(0.6, i / channels % tokens));
    return matmul(mix, x);
}

TEST(CommonScale, LeavesOrdinaryValuesAlone) {
    CommonScale scale;
    const Tensor x = falling(2, 4, 3, "x");
    EXPECT_EQ(scale.include(x), 0);
    EXPECT_EQ(scale.exponent(), 0);
    EXPECT_EQ(scale.apply(x).data(), x.data());
    EXPECT_EQ(largest_exponent(Tensor::zeros({3})), std::nullopt);
    EXPECT_EQ(largest_exponent(Tensor({0})), std::nullopt);
    EXPECT_EQ(largest_exponent(Tensor::from({2}, std::vector<real>{-6, real(0.5)})), 2);
    EXPECT_EQ(largest_exponent(Tensor::full({2}, std::numeric_limits<real>::denorm_min())),
              std::ilogb(std::numeric_limits<real>::denorm_min()));
    EXPECT_EQ(largest_exponent(Tensor::full({2}, std::numeric_limits<real>::quiet_NaN())),
              std::nullopt);
    // Zeros say nothing; the first value that is not 0 decides, and larger ones take over.
    CommonScale other;
    EXPECT_EQ(other.include(Tensor::zeros({3})), 0);
    EXPECT_EQ(other.include(times_power_of_two(x, extremes().front())), 0);
    EXPECT_LT(other.exponent(), 0);
    EXPECT_LT(other.include(x), 0);
    EXPECT_EQ(other.exponent(), 0);
}

TEST(Scale, OfXChangesNoBitOfASubspace) {
    const Tensor x = falling(6, 12, 8, "x");
    for (const Side side : {Side::token, Side::channel}) {
        Gram plain(side);
        plain.add(x);
        const EigenDecomposition expected = eigh(plain.sum());
        const std::int64_t rank = truncated_rank(expected, {.epsilon = 0.95});
        EXPECT_GT(rank, 1);
        for (const int exponent : extremes()) {
            Gram gram(side);
            gram.add(times_power_of_two(x, exponent));
            const EigenDecomposition spectrum = eigh(gram.sum());
            EXPECT_EQ(truncated_rank(spectrum, {.epsilon = 0.95}), rank) << exponent;
            EXPECT_EQ(kept_share(spectrum, rank, 2), kept_share(expected, rank, 2)) << exponent;
            EXPECT_TRUE(identical(make_projector(spectrum, side, {}).basis,
                                  make_projector(expected, side, {}).basis))
                << exponent;
        }
    }
}

TEST(Scale, OfLaterBatchesMayBeAnother) {
    const Tensor x = falling(6, 12, 8, "x");
    const int tiny = extremes().front();
    Gram gram(Side::token), plain(Side::token);
    gram.add(times_power_of_two(x, tiny));
    gram.add(times_power_of_two(x, tiny + 20));
    plain.add(x);
    plain.add(times_power_of_two(x, 20));
    EXPECT_TRUE(identical(make_projector(eigh(gram.sum()), Side::token, {}).basis,
                          make_projector(eigh(plain.sum()), Side::token, {}).basis));
    gram.add(x);  // beside these the others vanish
    Gram last(Side::token);
    last.add(x);
    EXPECT_TRUE(identical(gram.sum(), last.sum()));
}

TEST(Scale, OfXAndGChangesNoRelativeErrorOfALayer) {
    Stream stream(4, "w");
    const Tensor x = falling(4, 12, 6, "x"), gy = falling(4, 12, 5, "g");
    const Tensor w = normal({5, 6}, 0, 1, stream);
    LabOptions options;
    options.method.method = "instant";
    options.method.epsilon = 0.9;
    LabOptions vanilla;
    const auto errors = [&](int of_x, int of_g) {
        const Tensor sx = times_power_of_two(x, of_x), sg = times_power_of_two(gy, of_g);
        const LabResult exact = lab_linear(sx, w, sg, vanilla);
        const LabResult result = lab_linear(sx, w, sg, options);
        GradientError gx, gw;
        gx.add(result.gx, exact.gx);
        gw.add(result.gw, exact.gw);
        return std::tuple{*result.rank_x, *result.rank_g, gx.relative(), gw.relative(),
                          gx.cosine()};
    };
    const auto expected = errors(0, 0);
    EXPECT_GT(std::get<1>(expected), 1);
    EXPECT_GT(std::get<2>(expected), 0);
    for (const int exponent : sizeof(real) == 4 ? std::vector{-60, 60} : std::vector{-400, 256}) {
        EXPECT_EQ(errors(exponent, 0), expected) << exponent;
        EXPECT_EQ(errors(0, exponent), expected) << exponent;
    }
}

TEST(Scale, OfMeasuredErrorsMayDifferFromLayerToLayer) {
    const Tensor exact = falling(2, 4, 3, "x"), off = falling(2, 4, 3, "y");
    const int tiny = extremes().front() / 2;
    GradientError small, large, together, expected;
    small.add(times_power_of_two(off, tiny), times_power_of_two(exact, tiny));
    expected.add(off, exact);
    EXPECT_EQ(small.relative(), expected.relative());
    EXPECT_EQ(small.cosine(), expected.cosine());
    large.add(off, exact);
    together.add(small);
    together.add(large);
    EXPECT_NEAR(together.relative(), expected.relative(), 1e-12);
}

TEST(Scale, OfGAndWChangesNoSignalToNoiseRatio) {
    Stream stream(4, "w");
    const Tensor g = falling(40, 8, 6, "g"), w = normal({6, 5}, 0, 1, stream);
    for (const Side side : {Side::token, Side::channel}) {
        const SnrOptions options{.epsilon = 0.9, .side = side};
        const Snr expected = snr(g, w, options);
        for (const int exponent :
             sizeof(real) == 4 ? std::vector{-100, 80} : std::vector{-400, 256}) {
            for (const bool of_g : {true, false}) {
                const Snr scaled = snr(of_g ? times_power_of_two(g, exponent) : g,
                                       of_g ? w : times_power_of_two(w, exponent), options);
                EXPECT_EQ(scaled.theory.rank, expected.theory.rank);
                EXPECT_EQ(scaled.theory.predicted, expected.theory.predicted);
                EXPECT_EQ(scaled.theory.exact, expected.theory.exact);
                EXPECT_EQ(scaled.measured.value, expected.measured.value);
                EXPECT_EQ(scaled.measured.low, expected.measured.low);
                EXPECT_EQ(scaled.measured.high, expected.measured.high);
                EXPECT_EQ(scaled.theory.Sw, std::ldexp(expected.theory.Sw, 2 * exponent));
            }
        }
    }
}

TEST(Scale, OfEigenvaluesChangesNoRank) {
    const std::vector<double> sigma{5, 3, 1, 0.5, 0.01, -1e-9};
    for (const double scale : {1e-300, 1e-170, 1e170, 1e300}) {
        std::vector<double> scaled = sigma;
        for (double& value : scaled) value *= scale;
        EXPECT_EQ(truncated_rank(scaled, {.epsilon = 0.95}),
                  truncated_rank(sigma, {.epsilon = 0.95}));
        EXPECT_NEAR(kept_share(scaled, 2, 2), kept_share(sigma, 2, 2), 1e-12);
    }
}

}  // namespace
}  // namespace slimgrad
