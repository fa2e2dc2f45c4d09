// Attention in windows: the order of tokens, who sees whom, and every gradient.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "nn/cosine_attention.h"
#include "nn/distance_bias.h"
#include "nn/gradcheck.h"
#include "nn/models/efficientformer.h"
#include "nn/models/efficientformer_v2.h"
#include "nn/models/model.h"
#include "nn/models/swin.h"
#include "nn/scaled_dot_product.h"
#include "tests/error_of.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

TEST(Windows, CutAndRolled) {
    Tensor grid({1, 16, 1});
    for (std::int64_t i = 0; i < 16; ++i) grid.data()[i] = static_cast<real>(i);
    Tape tape;
    const Var x = tape.input(grid);
    const Tensor plain = to_windows("w", x, {4, 4, 2, 0}).value();
    ASSERT_EQ(plain.shape(), (Shape{4, 4, 1}));
    const real expected[] = {0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15};
    for (std::int64_t i = 0; i < 16; ++i) EXPECT_EQ(plain.data()[i], expected[i]);
    const Tensor rolled = to_windows("w", x, {4, 4, 2, 1}).value();
    const real corner[] = {5, 6, 9, 10};  // the first window begins one row and column later
    for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(rolled.data()[i], corner[i]);
}

TEST(Windows, TheWayBackIsTheWayBack) {
    const Windows windows{4, 6, 2, 1};
    const Tensor values = random({3, 24, 5});
    Tape tape;
    const Var x = tape.input(values);
    const Var y = from_windows("w", to_windows("w", x, windows), windows);
    EXPECT_TRUE(identical(y.value(), values));
    const Tensor g = random({3, 24, 5}, 2);
    tape.backward(y, g);
    EXPECT_TRUE(identical(tape.gradient(x), g));
}

TEST(Windows, TokensFromOppositeBordersDoNotSeeEachOther) {
    EXPECT_FALSE(window_mask({4, 4, 2, 0}).defined());
    const Tensor mask = window_mask({4, 4, 2, 1});
    ASSERT_EQ(mask.shape(), (Shape{4, 4, 4}));
    for (std::int64_t i = 0; i < 16; ++i) EXPECT_EQ(mask.data()[i], 0);  // nothing came from afar
    // The last window holds the four corners of the grid.
    for (std::int64_t i = 0; i < 4; ++i)
        for (std::int64_t j = 0; j < 4; ++j) EXPECT_EQ(mask.at({3, i, j}), i == j ? 0 : -100);
}

TEST(Windows, BadShapesAreOneLine) {
    Tape tape;
    const Var x = tape.input(random({2, 16, 3}));
    EXPECT_NE(error_of([&] {
                  to_windows("w", x, {4, 4, 3, 0});
              }).find("divides the grid"),
              std::string::npos);
    EXPECT_NE(error_of([&] {
                  to_windows("w", x, {4, 4, 2, 2});
              }).find("a shift below it"),
              std::string::npos);
    EXPECT_NE(error_of([&] {
                  to_windows("w", x, {4, 2, 2, 0});
              }).find("expected (batch, 8"),
              std::string::npos);
    EXPECT_NE(error_of([&] {
                  from_windows("w", x, {4, 4, 2, 0});
              }).find("expected (a multiple of"),
              std::string::npos);
    EXPECT_NE(error_of([] {
                  make_model("swinv2-s", {.height = 40, .width = 64});
              }).find("multiples of 32, got 40x64"),
              std::string::npos);
}

/// The bias of positions, as a layer of x.
class Biased final : public Module {
  public:
    explicit Biased(Stream& stream) : bias_(2, 2, stream) {}
    Var forward(const Var& x) override { return x * bias_.on(x.tape()); }
    void visit(Visitor& visitor) override { visitor.module("bias", bias_); }
    std::string kind() const override { return "biased"; }

  private:
    PositionBias bias_;
};

TEST(WindowAttention, GradientsAgreeWithFiniteDifferences) {
    if constexpr (sizeof(real) == 4) GTEST_SKIP() << "needs double precision";
    Stream stream(2, "test");
    Biased bias(stream);
    GradcheckOptions few;
    few.max_elements = 40;
    EXPECT_NO_THROW(gradcheck(bias, random({2, 4, 4}), few));
    for (const std::int64_t shift : {0, 1}) {
        WindowAttention attention(6, 2, {4, 4, 2, shift}, stream);
        EXPECT_NO_THROW(gradcheck(attention, random({2, 16, 6}), few)) << shift;
    }
}

TEST(BiasedAttention, GradientsAgreeWithFiniteDifferences) {
    if constexpr (sizeof(real) == 4) GTEST_SKIP() << "needs double precision";
    Stream stream(2, "test");
    BiasedAttention attention(5, 2, 3, stream);
    GradcheckOptions few;
    few.max_elements = 40;
    EXPECT_NO_THROW(gradcheck(attention, random({2, 6, 5}), few));
}

TEST(DistanceBias, IsTheNumberOfTheDistance) {
    const Tensor numbers = random({2, 12});  // of 3x4 tokens
    Tape tape;
    const Var b = tape.input(numbers);
    const Tensor all = distance_bias("b", b, {3, 4}).value();
    const Tensor second = distance_bias("b", b, {3, 4, 2}).value();
    ASSERT_EQ(all.shape(), (Shape{2, 12, 12}));
    ASSERT_EQ(second.shape(), (Shape{2, 4, 12}));  // who asks: rows 0 and 2, columns 0 and 2
    const std::int64_t asking[] = {0, 2, 8, 10};
    for (std::int64_t h = 0; h < 2; ++h)
        for (std::int64_t j = 0; j < 12; ++j)
            for (std::int64_t i = 0; i < 4; ++i) {
                const std::int64_t query = asking[i];
                const std::int64_t distance =
                    std::abs(query / 4 - j / 4) * 4 + std::abs(query % 4 - j % 4);
                EXPECT_EQ(all.at({h, query, j}), numbers.at({h, distance}));
                EXPECT_EQ(second.at({h, i, j}), numbers.at({h, distance}));
            }
    EXPECT_NE(error_of([&] {
                  distance_bias("b", b, {4, 4});
              }).find("expected a number for each"),
              std::string::npos);
}

TEST(TalkingAttention, GradientsAgreeWithFiniteDifferences) {
    if constexpr (sizeof(real) == 4) GTEST_SKIP() << "needs double precision";
    GradcheckOptions few;
    few.max_elements = 12;
    for (const std::int64_t stride : {1, 2}) {
        TalkingAttention attention({.width = 3, .rows = 2, .columns = 4, .stride = stride}, 5, "a");
        EXPECT_NO_THROW(gradcheck(attention, random({2, 3, 2, 4}), few)) << stride;
    }
    for (const bool with : {false, true}) {
        HalvingStep step({.in = 3, .out = 5, .rows = 3, .columns = 4, .attention = with}, 5, "s");
        EXPECT_NO_THROW(gradcheck(step, random({2, 3, 3, 4}), few)) << with;
    }
    EXPECT_NE(error_of([] {
                  make_model("efficientformerv2-s0", {.height = 48, .width = 64});
              }).find("multiples of 32, got 48x64"),
              std::string::npos);
}

// exp(logit_scale) ends at 100, and beyond nothing is learned.
TEST(WindowAttention, TheScaleIsBounded) {
    Stream stream(2, "test");
    WindowAttention attention(6, 2, {2, 2, 2, 0}, stream);
    Parameter* scale = nullptr;
    for_each_parameter(attention, [&](const std::string& name, Parameter& p) {
        if (name == "logit_scale") scale = &p;
    });
    ASSERT_NE(scale, nullptr);
    scale->value.data()[0] = 9;
    const Tensor x = random({1, 4, 6});
    const auto run = [&] {
        zero_grad(attention);
        Tape tape;
        const Var y = attention.forward(tape.input(x));
        tape.backward(y, random({1, 4, 6}, 3));
        return y.value();
    };
    const Tensor bounded = run();
    EXPECT_EQ(scale->grad.dense().data()[0], 0);
    EXPECT_NE(scale->grad.dense().data()[1], 0);
    scale->value.data()[0] = static_cast<real>(std::log(100.0));
    expect_close(bounded, run(), "y");
}

TEST(WindowAttention, AVectorOfZerosHasFiniteGradients) {
    Stream stream(2, "test");
    WindowAttention attention(6, 2, {2, 2, 2, 0}, stream);
    Tape tape;
    const Var x = tape.input(Tensor::zeros({1, 4, 6}));
    const Var y = attention.forward(x);
    tape.backward(y, random({1, 4, 6}));
    for (const real g : tape.gradient(x).values()) EXPECT_TRUE(std::isfinite(g));
}

TEST(ScaledDotProduct, ColumnsByHeadAreThoseOfThreeInputs) {
    constexpr std::int64_t batch = 2, tokens = 5, heads = 2, d = 3, dv = 4;
    const Tensor q = random({batch, tokens, heads * d}), k = random({batch, tokens, heads * d}, 2);
    const Tensor v = random({batch, tokens, heads * dv}, 3);
    const Tensor b = random({heads, tokens, tokens}, 4);
    Tensor fused({batch, tokens, heads * (2 * d + dv)});
    for (std::int64_t row = 0; row < batch * tokens; ++row) {
        real* to = fused.data() + row * heads * (2 * d + dv);
        for (std::int64_t h = 0; h < heads; ++h) {
            to = std::copy_n(q.data() + (row * heads + h) * d, d, to);
            to = std::copy_n(k.data() + (row * heads + h) * d, d, to);
            to = std::copy_n(v.data() + (row * heads + h) * dv, dv, to);
        }
    }
    const Tensor g = random({batch, tokens, heads * dv}, 5);
    ScaledDotProductOptions options{.heads = heads, .key_width = d};
    Tape one, three;
    const Var x = one.input(fused), bias1 = one.input(b), bias3 = three.input(b);
    const Var vq = three.input(q);
    const Var y3 = scaled_dot_product_attention("three", {vq, three.input(k), three.input(v)},
                                                &bias3, options);
    options.by_head = true;
    const Var y1 = scaled_dot_product_attention("one", {x}, &bias1, options);
    EXPECT_EQ(y1.shape(), (Shape{batch, tokens, heads * dv}));
    EXPECT_TRUE(identical(y1.value(), y3.value()));
    one.backward(y1, g);
    three.backward(y3, g);
    EXPECT_TRUE(identical(one.gradient(bias1), three.gradient(bias3)));
    const Tensor gx = one.gradient(x), gq = three.gradient(vq);
    for (std::int64_t row = 0; row < batch * tokens; ++row)
        for (std::int64_t i = 0; i < d; ++i)
            EXPECT_EQ(gx.data()[row * heads * (2 * d + dv) + i], gq.data()[row * heads * d + i]);
}

TEST(ScaledDotProduct, MasksMayRepeat) {
    const Tensor x = random({4, 3, 6});
    Tensor two({2, 3, 3}), four({4, 3, 3});
    for (std::int64_t i = 0; i < two.numel(); ++i)
        two.data()[i] = four.data()[i] = four.data()[two.numel() + i] = static_cast<real>(i % 5);
    const auto run = [&](const Tensor& mask) {
        Tape tape;
        return scaled_dot_product_attention("a", {tape.input(x)}, nullptr,
                                            {.heads = 1, .key_width = 2, .mask = {mask, {}}})
            .value();
    };
    EXPECT_TRUE(identical(run(two), run(four)));
    EXPECT_NE(error_of([&] { run(random({3, 3, 3})); }).find("expected a mask"), std::string::npos);
}

TEST(Swin, HasThePublishedSizeAndTrainsItsLastBlocks) {
    if (sizeof(real) == 8) GTEST_SKIP() << "one precision is enough";
    const auto model = make_model("swinv2-s", {.height = 256, .width = 256, .classes = 1000});
    std::int64_t count = 0;
    for (const Parameter* p : parameters(*model)) count += p->value.numel();
    EXPECT_EQ(count, 49'728'418);
    select_train_blocks(*model, "last:2");  // the last stage
    for_each_parameter(*model, [](const std::string& name, Parameter& p) {
        const bool last = name.starts_with("layers.3.blocks") || name.starts_with("norm.") ||
                          name.starts_with("head.");
        EXPECT_EQ(p.requires_grad, last) << name;
    });
}

}  // namespace
}  // namespace slimgrad
