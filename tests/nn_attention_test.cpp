#include "nn/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "nn/gradcheck.h"
#include "tensor/ops.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

Tensor value(Module& module, const Tensor& x) {
    Tape tape;
    return module.forward(tape.constant(x)).value();
}

Tensor linear(Module& module, const std::string& name, const Tensor& x) {
    Tensor y;
    for_each_module(module, [&](const std::string& path, Module& child) {
        if (path == name) y = value(child, x);
    });
    return y;
}

TEST(Attention, MatchesItsDefinitionHeadByHead) {
    Stream stream(1, "test");
    MultiHeadAttention attention(6, 2, stream);
    const Tensor x = random({2, 5, 6});
    const Tensor q = linear(attention, "q", x), k = linear(attention, "k", x),
                 v = linear(attention, "v", x);
    std::vector<Tensor> heads;
    for (const std::int64_t h : {0, 1}) {
        const auto head = [h](const Tensor& t) { return slice(t, 2, 3 * h, 3); };
        const Tensor scores =
            matmul(head(q), head(k), Op::none, Op::transpose) * (1 / std::sqrt(real(3)));
        heads.push_back(matmul(softmax(scores), head(v)));
    }
    const Tensor expected = linear(attention, "proj", concat(heads, 2));
    const Tensor difference = value(attention, x) - expected;
    EXPECT_LT(sum_squares(difference), 1e-10);
}

TEST(Attention, FusedEqualsSeparate) {
    Stream stream(1, "test"), other(2, "test");
    MultiHeadAttention separate(8, 2, stream);
    MultiHeadAttention fused(8, 2, other, {0, true, true});
    const auto from = parameters(separate), to = parameters(fused);
    ASSERT_EQ(from.size(), 8u);
    ASSERT_EQ(to.size(), 4u);
    for (const std::size_t i : {0u, 1u})
        to[i]->value = concat({from[i]->value, from[i + 2]->value, from[i + 4]->value}, 0);
    for (const std::size_t i : {0u, 1u}) to[2 + i]->value = from[6 + i]->value;
    const Tensor x = random({2, 5, 8});
    EXPECT_LT(sum_squares(value(separate, x) - value(fused, x)), 1e-10);
}

TEST(Attention, GradientsAgreeWithFiniteDifferences) {
    Stream stream(1, "test");
    const Tensor x = random({2, 4, 6});
    Tensor causal = Tensor::zeros({4, 4});
    for (std::int64_t i = 0; i < 4; ++i)
        for (std::int64_t j = i + 1; j < 4; ++j) causal.at({i, j}) = 1;
    AttentionMask masks;
    masks.additive = AttentionMask::from_boolean(causal);
    masks.key_padding = Tensor::zeros({2, 4});
    masks.key_padding.at({1, 3}) = 1;
    AttentionMask each_sample;
    each_sample.additive = random({2, 4, 4}, 9);
    for (const AttentionOptions& options :
         {AttentionOptions{}, AttentionOptions{0, true, true}, AttentionOptions{0.4, false, false},
          AttentionOptions{0.4, true, true}}) {
        MultiHeadAttention attention(6, 3, stream, options);
        for (const AttentionMask& mask : {AttentionMask{}, masks, each_sample}) {
            const TapeFunction f = [&](Tape&, const std::vector<Var>& v) {
                return attention.forward(v[0], mask);
            };
            EXPECT_NO_THROW(gradcheck(attention, f, {x}));
        }
    }
}

// So many tokens that P is made in several blocks of rows, the last of them smaller.
TEST(Attention, LongSequencesGoThroughBlocksOfRows) {
    const std::int64_t tokens = 387, width = 5;
    Stream stream(1, "test");
    MultiHeadAttention attention(width, 1, stream, {0, true, true});
    const Tensor x = random({1, tokens, width}), g = random({1, tokens, width}, 2);
    Tape tape;
    const Var input = tape.input(x);
    const Var y = attention.forward(input);
    tape.backward(y, g);

    // The same from whole matrices, g_qkv by hand.
    const auto p = parameters(attention);
    const auto affine = [](const Tensor& in, const Parameter& w, const Parameter& b) {
        Tensor out = matmul(in, w.value, Op::none, Op::transpose);
        add_row_in_place(out, b.value);
        return out;
    };
    const Tensor qkv = affine(x, *p[0], *p[1]);
    const auto third = [&](std::int64_t i) { return slice(qkv, 2, i * width, width); };
    const Tensor q = third(0), k = third(1), v = third(2);
    const real scale = 1 / std::sqrt(static_cast<real>(width));
    const Tensor probabilities = softmax(matmul(q, k, Op::none, Op::transpose) * scale);
    const Tensor heads = matmul(probabilities, v);
    const Tensor expected = affine(heads, *p[2], *p[3]);
    EXPECT_LT(sum_squares(y.value() - expected), 1e-9 * sum_squares(expected));

    const Tensor g_heads = matmul(g, p[2]->value);
    const Tensor g_p = matmul(g_heads, v, Op::none, Op::transpose);
    const Tensor dot =
        broadcast_to(sum(g_p * probabilities, 2).reshape({1, tokens, 1}), {1, tokens, tokens});
    const Tensor g_s = probabilities * (g_p - dot) * scale;
    const Tensor g_qkv = concat({matmul(g_s, k), matmul(g_s, q, Op::transpose),
                                 matmul(probabilities, g_heads, Op::transpose)},
                                2);
    const Tensor gx = matmul(g_qkv, p[0]->value);
    EXPECT_LT(sum_squares(tape.gradient(input) - gx), 1e-9 * sum_squares(gx));
}

// The mask of dropout must fall on the same probabilities both ways, block by block.
TEST(Attention, DropoutRepeatsItselfInEveryBlock) {
    if (sizeof(real) == 4) GTEST_SKIP() << "needs double precision";
    Stream stream(1, "test");
    MultiHeadAttention attention(2, 1, stream, {0.5, true, true});
    GradcheckOptions options;
    options.max_elements = 12;
    EXPECT_NO_THROW(gradcheck(attention, random({1, 300, 2}), options));
}

TEST(Attention, NoTokensAndNoSamplesAreFine) {
    Stream stream(1, "test");
    MultiHeadAttention attention(6, 2, stream);
    for (const Shape& shape : {Shape{0, 4, 6}, Shape{2, 0, 6}}) {
        Tape tape;
        const Var y = attention.forward(tape.input(Tensor(shape)));
        EXPECT_EQ(y.shape(), shape);
        EXPECT_NO_THROW(tape.backward(y, Tensor(shape)));
    }
}

TEST(Attention, MaskedKeysChangeNothing) {
    Stream stream(1, "test");
    MultiHeadAttention attention(6, 2, stream);
    Tensor x = random({1, 4, 6});
    AttentionMask mask;
    mask.key_padding = Tensor::from({1, 4}, std::vector<real>{0, 0, 0, 1});
    const auto first_token = [&] {
        Tape tape;
        return slice(attention.forward(tape.constant(x), mask).value(), 1, 0, 1);
    };
    const Tensor before = first_token();
    x.at({0, 3, 2}) = 50;
    EXPECT_TRUE(identical(before, first_token()));

    mask.key_padding = Tensor::full({1, 4}, 1);  // nothing to see, as in PyTorch
    EXPECT_TRUE(std::isnan(first_token().at({0, 0, 0})));
}

TEST(Attention, SeparateProjectionsHoldTheirInputOnceInOneGroup) {
    Stream stream(1, "test");
    MultiHeadAttention attention(16, 2, stream);
    name_modules(attention);
    const Tensor x = random({2, 8, 16});
    Tape tape;
    const Var y = attention.forward(tape.input(x));
    // x once; Q, K, V and the input of proj, each as large as x; no P
    EXPECT_EQ(ledger()[Category::saved].live, 5 * x.bytes());

    std::vector<std::string> groups;
    for_each_module(attention, [&](const std::string&, Module& module) {
        if (auto* layer = dynamic_cast<LinearMap*>(&module)) groups.push_back(layer->input_group());
    });
    ASSERT_EQ(groups.size(), 4u);
    EXPECT_EQ(groups[0], groups[1]);
    EXPECT_EQ(groups[1], groups[2]);
    EXPECT_NE(groups[2], groups[3]);
}

TEST(Attention, CountsItsProducts) {
    Stream stream(1, "test");
    MultiHeadAttention attention(16, 2, stream, {0, true, true});
    Tape tape;
    meter().reset();
    const Var y = attention.forward(tape.input(random({3, 8, 16})));
    const std::int64_t product = 2 * 3 * 8 * 8 * 16, probabilities = 3 * 2 * 8 * 8;
    EXPECT_EQ(meter().count("attention", "forward"), 2 * product + 5 * probabilities);
    tape.backward(y, random({3, 8, 16}));
    // Backward makes P again: one product and one softmax.
    EXPECT_EQ(meter().count("attention", "backward"), 5 * product + 9 * probabilities);
}

TEST(Attention, WrongShapesAreErrors) {
    Stream stream(1, "test");
    MultiHeadAttention attention(6, 2, stream);
    Tape tape;
    EXPECT_THROW(attention.forward(tape.constant(random({2, 4, 5}))), Error);
    EXPECT_THROW(attention.forward(tape.constant(random({4, 6}))), Error);
    const Var x = tape.constant(random({2, 4, 6}));
    AttentionMask mask;
    mask.additive = random({4, 3});
    EXPECT_THROW(attention.forward(x, mask), Error);
    AttentionMask padding;
    padding.key_padding = random({4, 2});
    EXPECT_THROW(attention.forward(x, padding), Error);
    EXPECT_THROW(MultiHeadAttention(6, 4, stream), Error);
    EXPECT_THROW(MultiHeadAttention(6, 0, stream), Error);
    EXPECT_THROW(MultiHeadAttention(6, 2, stream, {1.5, true, true}), Error);
}

}  // namespace
}  // namespace slimgrad
