// skip_padding: rows of x that are padding are in no statistics and in no x̂.
#include <gtest/gtest.h>

#include "instant/calibration/calibrator.h"
#include "instant/methods/options.h"
#include "nn/linear.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

constexpr std::int64_t batch = 3, tokens = 6, cx = 8, cy = 7;

struct One final : Module {
    One() { name_modules(*this); }
    Var forward(const Var& x) override { return linear.forward(x); }
    void visit(Visitor& visitor) override { visitor.module("linear", linear); }
    std::string kind() const override { return "one"; }
    Stream stream{1, "one"};
    Linear linear{cx, cy, stream};
};

/// Sample b has 6 - b tokens.
Tensor padding() {
    Tensor padding = Tensor::zeros({batch, tokens});
    for (std::int64_t b = 0; b < batch; ++b)
        for (std::int64_t i = tokens - b; i < tokens; ++i) padding.at({b, i}) = 1;
    return padding;
}

/// Random values, with `value` in the rows of padding.
Tensor padded(std::int64_t channels, std::uint64_t seed, real value) {
    Tensor x = random({batch, tokens, channels}, seed);
    const Tensor mask = padding();
    for (std::int64_t i = 0; i < x.numel(); ++i)
        if (mask.data()[i / channels] != 0) x.data()[i] = value;
    return x;
}

Tensor gw_of(One& model, real value) {
    zero_grad(model);
    Tape tape;
    const TokenScope scope(tape, {.padding = padding()});
    tape.backward(model.forward(tape.input(padded(cx, 1, value))), padded(cy, 2, 0));
    return model.linear.weight().grad.dense().clone();
}

MethodOptions options_of(const std::string& side, bool skip) {
    MethodOptions options{.method = "compress-x", .side = side, .offset = "none"};
    options.rank_x = 3;
    options.own.set("[test]", skip_padding_option(), skip);
    return options;
}

TEST(SkipPadding, WhatStandsInPaddingDoesNotMatter) {
    for (const std::string side : {"token", "channel"}) {
        One model, other, plain;
        Calibrator a(model, options_of(side, true)), b(other, options_of(side, true)),
            c(plain, options_of(side, false));
        a.calibrate([&] { gw_of(model, 9); });
        b.calibrate([&] { gw_of(other, 0); });
        c.calibrate([&] { gw_of(plain, 9); });
        EXPECT_TRUE(identical(a.state()[0].basis, b.state()[0].basis)) << side;
        EXPECT_FALSE(identical(a.state()[0].basis, c.state()[0].basis)) << side;
        EXPECT_TRUE(identical(gw_of(model, 9), gw_of(model, 0))) << side;
    }
}

TEST(SkipPadding, FullRankIsVanilla) {
    One exact, model;
    MethodOptions options = options_of("token", true);
    options.rank_x = tokens;
    Calibrator calibrator(model, options);
    calibrator.calibrate([&] { gw_of(model, 9); });
    expect_close(gw_of(model, 9), gw_of(exact, 9), "g_w");
}

}  // namespace
}  // namespace slimgrad
