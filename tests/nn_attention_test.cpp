#include "nn/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "nn/gradcheck.h"
#include "tensor/ops.h"

namespace slimgrad {
namespace {

Tensor random(Shape shape, std::uint64_t seed = 1) {
    Stream stream(seed, "test");
    return normal(std::move(shape), 0, 1, stream);
}

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
    // x once; Q, K, V and the input of proj, each as large as x; P: (2, 2, 8, 8)
    const auto p_bytes = static_cast<std::int64_t>(2 * 2 * 8 * 8 * sizeof(real));
    EXPECT_EQ(ledger()[Category::saved].live, 5 * x.bytes() + p_bytes);

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
    EXPECT_EQ(meter().count("attention", "backward"), 4 * product + 4 * probabilities);
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
