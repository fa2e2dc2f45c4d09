// GACT as a codec: what it packs, and how it is told.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "instant/methods/gact.h"
#include "nn/linear.h"
#include "nn/sequential.h"
#include "tensor/meter.h"
#include "tests/error_of.h"
#include "tests/method_with.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

TEST(Gact, PacksEachActivationOnceAndNothingElse) {
    Stream stream(1, "test");
    Sequential model;
    Linear& q = model.add<Linear>(64, 64, stream);
    Linear& k = model.add<Linear>(64, 64, stream);
    name_modules(model);
    Tape tape(tape_options(with("gact")));
    const Var x = tape.input(random({2, 8, 64}));
    const Var loss = sum(q.forward(x) * k.forward(x));
    // x once for both, and the two factors.
    const std::int64_t each = QuantisedForm{.bits = 4}.bytes({8, 64}, 2, sizeof(real));
    EXPECT_EQ(ledger()[Category::saved].live, 3 * each);
    tape.backward(loss);
    EXPECT_EQ(ledger()[Category::saved].live, 0);

    // 32 bits are none.
    Tape plain(tape_options(with("gact", {{"bits", std::string("32")}})));
    const Var y = q.forward(plain.input(random({2, 8, 64})));
    EXPECT_EQ(ledger()[Category::saved].live, 2 * 8 * 64 * static_cast<std::int64_t>(sizeof(real)));
}

TEST(Gact, EvaluationIsExact) {
    for (TapeOptions options : {tape_options(with("gact")), TapeOptions{.derivative_bits = 2}}) {
        options.training = false;
        EXPECT_EQ(error_of([&] { Tape tape(options); }),
                  "[tape] evaluation is exact: a codec and derivatives in few bits are for "
                  "training");
    }
}

TEST(Gact, WhatWouldNotShrinkIsLeftAsItIs) {
    const GactCodec codec({.bits = 8});
    EXPECT_EQ(codec.form_of("a x", {2}), std::nullopt) << "two numbers need two numbers of range";
    EXPECT_EQ(codec.form_of("a x", {}), std::nullopt);
    EXPECT_EQ(codec.form_of("a x", {2, 2, 2, 64}), std::nullopt) << "five axes";
    EXPECT_TRUE(codec.form_of("a x", {64}).has_value());
    const auto cost = codec.cost("a x", {2}, 3);
    ASSERT_TRUE(cost.has_value());
    EXPECT_EQ(cost->bytes, 3 * 2 * 4);
    EXPECT_EQ(cost->pack, 0);
}

TEST(Gact, TheGradientOfALinearLayerIsRightOnAverage) {
    Stream stream(1, "test");
    Linear layer(48, 8, stream);
    const Tensor x = random({3, 5, 48}), g = random({3, 5, 8}, 2);
    const auto gradient = [&](const std::string& method, std::uint64_t step) {
        TapeOptions options = tape_options(with(method, {}));
        options.step = step;
        Tape tape(options);
        const Var in = tape.input(x);
        tape.backward(layer.forward(in), g);
        Tensor gw = layer.weight().grad.dense();
        zero_grad(layer);
        return gw;
    };
    const Tensor exact = gradient("vanilla", 0);
    constexpr int draws = 400;
    Tensor mean = Tensor::zeros(exact.shape());
    double one = 0;
    for (int i = 0; i < draws; ++i) {
        const Tensor gw = gradient("gact", static_cast<std::uint64_t>(i));
        one += sum_squares(gw - exact) / draws;
        mean = mean + gw * (real(1) / draws);
    }
    EXPECT_GT(one, 0);
    const double left = sum_squares(mean - exact);
    EXPECT_LT(left, 1.5 * one / draws) << "the mean of independent errors";
    // And the error of one is what theory says of a linear layer.
    const Tensor variances = rounding_variance(x, {.bits = 4});
    double theory = 0;
    for (std::int64_t row = 0; row < 15; ++row) {
        double of_g = 0, of_x = 0;
        for (std::int64_t c = 0; c < 8; ++c)
            of_g += double{g.data()[row * 8 + c]} * g.data()[row * 8 + c];
        for (std::int64_t c = 0; c < 48; ++c) of_x += variances.data()[row * 48 + c];
        theory += of_g * of_x;
    }
    EXPECT_NEAR(one / theory, 1, 0.1);
}

TEST(Gact, OptionsAndTheCodecWord) {
    EXPECT_EQ(gact_codec(with("gact"))->form_of("a", {64})->bits, 4);
    EXPECT_EQ(gact_codec(with("gact", {{"bits", std::string("2")}}))->form_of("a", {64})->bits, 2);
    for (const auto& [level, bits] : {std::pair{"L1", 4}, {"L1.1", 8}, {"L1.2", 2}, {"L2", 4}})
        EXPECT_EQ(
            gact_codec(with("gact", {{"level", std::string(level)}}))->form_of("a", {64})->bits,
            bits);
    EXPECT_EQ(automatic_bits(with("gact")), std::nullopt);
    EXPECT_EQ(automatic_bits(with("vanilla")), std::nullopt);
    EXPECT_EQ(automatic_bits(with("gact", {{"level", std::string("L2.1")}})), 3);

    MethodOptions options{.method = "instant"};
    add_codec(options, "gact:L2", "[test]");
    EXPECT_EQ(options.method, "instant+gact");
    EXPECT_EQ(automatic_bits(options), 4);
    EXPECT_EQ(error_of([&] { add_codec(options, "gact", "[test]"); }),
              "[test] method 'instant+gact' has a codec already, got codec 'gact'");
    MethodOptions vanilla;
    EXPECT_EQ(error_of([&] { add_codec(vanilla, "zip", "[test]"); }),
              "[test] expected codec gact, or gact:LEVEL with a level of L1, L1.1, L1.2, L2, L2.1, "
              "L2.2, got 'zip'");
    EXPECT_EQ(error_of([&] { add_codec(vanilla, "gact:L3", "[test]"); }),
              "[test] unknown level 'L3'. Known: L1, L1.1, L1.2, L2, L2.1, L2.2");
    add_codec(vanilla, "gact", "[test]");
    EXPECT_EQ(vanilla.method, "gact");
    EXPECT_EQ(error_of([] {
                  tape_options(with("gact", {{"group_size", std::int64_t{12}}}));
              }),
              "[method] expected a group_size that is a multiple of 8, got 12");
}

}  // namespace
}  // namespace slimgrad
