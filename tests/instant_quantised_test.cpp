// What a tensor in few bits holds, and what it is on average.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "instant/codec/gact.h"
#include "tests/error_of.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

constexpr std::array all_scales{Scales::group, Scales::token, Scales::channel};

Quantised::StreamOf stream_of_step(std::uint64_t step) {
    return [step](std::int64_t sample) {
        return Stream(3, "test", step, static_cast<std::uint32_t>(sample));
    };
}

std::int64_t held_bytes(const Packed& payload) {
    std::int64_t bytes = 0;
    for (const auto& storage : payload.held()) bytes += static_cast<std::int64_t>(storage->bytes());
    return bytes;
}

// The mean of n draws lies within 5 standard errors, and their variance within 5 of its own: the
// fourth moment of a rounding is at most its variance times step², which bounds the latter.
TEST(Quantised, IsUnbiasedAndItsVarianceIsThatOfTheory) {
    constexpr int draws = 1000;
    for (const Scales scales : all_scales)
        for (const Shape& shape : {Shape{2, 5, 37}, Shape{2, 3, 4, 6}})
            for (const int bits : {1, 2, 4, 8}) {
                const QuantisedForm form{bits, scales, 64};
                const Tensor x = random(shape), theory = rounding_variance(x, form);
                std::vector<double> sum(x.values().size()), squares(x.values().size());
                for (std::uint64_t draw = 0; draw < draws; ++draw) {
                    const Tensor back = Quantised(x, form, stream_of_step(draw)).unpack();
                    for (std::size_t i = 0; i < sum.size(); ++i) {
                        const double error = double{back.values()[i]} - x.values()[i];
                        sum[i] += error;
                        squares[i] += error * error;
                    }
                }
                const double range = 10, step = range / ((1 << bits) - 1);
                const double dust = 1e-5;  // u has 16 bits, and the numbers 24
                double total = 0, expected = 0;
                for (std::size_t i = 0; i < sum.size(); ++i) {
                    const double variance = theory.values()[i];
                    // A few roundings up of a fraction next to 0 are no news either.
                    EXPECT_LT(std::abs(sum[i] / draws),
                              5 * std::sqrt(variance / draws) + 4 * step / draws + dust * range);
                    total += squares[i] / draws;
                    expected += variance;
                }
                EXPECT_NEAR(total, expected, 5 * std::sqrt(expected * step * step / draws) + 1e-4);
            }
}

TEST(Quantised, HoldsWhatItsFormSays) {
    const std::int64_t number = sizeof(real);
    for (const Scales scales : all_scales)
        for (const Shape& sample : {Shape{}, Shape{1}, Shape{7}, Shape{300}, Shape{5, 37},
                                    Shape{1, 8}, Shape{3, 4, 6}, Shape{0, 4}})
            for (const int bits : {1, 2, 4, 8})
                for (const std::int64_t samples : {0, 1, 3}) {
                    const QuantisedForm form{bits, scales, 64};
                    Shape shape{samples};
                    shape.insert(shape.end(), sample.begin(), sample.end());
                    const Tensor x = random(shape);
                    const Quantised q(x, form, stream_of_step(0));
                    EXPECT_EQ(held_bytes(q), form.bytes(sample, samples, number));
                    EXPECT_EQ(q.unpack().shape(), shape);
                }
    // 5 tokens of 37 channels in 4 bits: 19 bytes a token.
    EXPECT_EQ((QuantisedForm{4, Scales::token}.bytes({5, 37}, 1, 4)), 5 * 19 + 5 * 8);
    EXPECT_EQ((QuantisedForm{4, Scales::channel}.bytes({5, 37}, 1, 4)), 5 * 19 + 37 * 8);
    EXPECT_EQ((QuantisedForm{4, Scales::group, 64}.bytes({5, 37}, 1, 4)), 93 + 3 * 8);
    // Of images a channel is a plane, a token a pixel.
    EXPECT_EQ((QuantisedForm{8, Scales::channel}.bytes({3, 4, 6}, 1, 4)), 72 + 3 * 8);
    EXPECT_EQ((QuantisedForm{8, Scales::token}.bytes({3, 4, 6}, 1, 4)), 72 + 24 * 8);
}

TEST(Quantised, ScalesAreOfWhatTheySay) {
    // One token a thousand times the others, then one channel: only their own scale feels it.
    for (const bool token : {true, false}) {
        Tensor x = random({1, 6, 40});
        for (std::int64_t t = 0; t < 6; ++t)
            for (std::int64_t c = 0; c < 40; ++c)
                if (token ? t == 2 : c == 7) x.data()[t * 40 + c] *= 1000;
        const auto error = [&](Scales scales) {
            const Tensor back = Quantised(x, {8, scales, 240}, stream_of_step(0)).unpack();
            double sum = 0;
            for (std::int64_t t = 0; t < 6; ++t)
                for (std::int64_t c = 0; c < 40; ++c)
                    if (token ? t != 2 : c != 7)
                        sum += std::abs(double{back.at({0, t, c})} - x.at({0, t, c}));
            return sum / (6 * 40);
        };
        EXPECT_GT(error(Scales::group), 1) << "one scale for all";
        EXPECT_LT(error(token ? Scales::token : Scales::channel), 0.05);
    }
}

TEST(Quantised, WhatIsNotFiniteIsRefusedWithTheLayersName) {
    for (const Scales scales : all_scales)
        for (const real bad :
             {std::numeric_limits<real>::quiet_NaN(), std::numeric_limits<real>::infinity()}) {
            Tensor x = random({3, 5, 40});
            x.data()[200 + 7] = bad;  // of sample 1
            const LayerScope layer("blocks.0.fc1");
            const std::string said = error_of([&] {
                Quantised(x, {4, scales}, stream_of_step(0));
            });
            EXPECT_EQ(said.rfind("[blocks.0.fc1] a value of sample 1 is not finite and cannot be "
                                 "kept in 4 bits",
                                 0),
                      0u)
                << said;
        }
    // Each value is finite, but the distance between them is not.
    for (const Scales scales : all_scales) {
        Tensor x = random({3, 5, 40});
        x.data()[200] = std::numeric_limits<real>::max();
        x.data()[201] = x.data()[240] = -std::numeric_limits<real>::max();
        const LayerScope layer("blocks.0.fc1");
        EXPECT_EQ(error_of([&] {
                      Quantised(x, {4, scales}, stream_of_step(0));
                  }).rfind("[blocks.0.fc1] a value of sample 1 is not finite", 0),
                  0u);
    }
    EXPECT_EQ(error_of([] {
                  Quantised(random({1, 8}), {4, Scales::group, 12}, stream_of_step(0));
              }),
              "[codec] expected groups of a multiple of 8 elements, got 12");
}

}  // namespace
}  // namespace slimgrad
