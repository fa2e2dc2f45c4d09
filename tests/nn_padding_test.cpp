// What a rule is told of padding: which rows of x are none, that those of g_y are zeros already,
// and what makes zeros of them.
#include "nn/padding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "nn/linear.h"
#include "nn/losses.h"
#include "nn/models/text_model.h"
#include "tensor/ops.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

Tensor drawn(const Shape& shape) {
    Stream stream(5, "test");
    return normal(shape, 0, 1, stream);
}

LinearCall call_with(Tensor padding) {
    LinearCall call;
    call.layer = "fc";
    call.layout.padding = std::move(padding);
    return call;
}

TEST(Padding, ItsRowsBecomeZeros) {
    const Tensor m = drawn({2, 3, 5});
    Tensor mask = Tensor::zeros({2, 3});
    for (const int row : {1, 2, 5}) mask.data()[row] = 1;
    const Tensor result = without_padding(m, call_with(mask));
    ASSERT_EQ(result.shape(), m.shape());
    for (std::int64_t i = 0; i < m.numel(); ++i)
        EXPECT_EQ(result.data()[i], mask.data()[i / 5] != 0 ? 0 : m.data()[i]) << i;
    EXPECT_TRUE(identical(without_padding(m.rows(0, 1), call_with(mask)), result.rows(0, 1)));
}

TEST(Padding, WithoutAStatementNothingIsDone) {
    const Tensor m = drawn({2, 3, 5});
    EXPECT_EQ(without_padding(m, call_with({})).data(), m.data());
}

TEST(Padding, OfOtherTokensIsAnError) {
    const auto said = [](const Tensor& m) {
        return error_of([&] { without_padding(m, call_with(Tensor::zeros({2, 3}))); });
    };
    EXPECT_EQ(said(drawn({2, 4, 5})),
              "[fc] expected the padding of (2, 4) tokens as the model states it, got (2, 3)");
    EXPECT_NE(said(drawn({3, 3, 5})).find("of (3, 3) tokens"), std::string::npos);
    EXPECT_EQ(said(drawn({6, 5})), "[fc] expected (samples, tokens, channels), got (6, 5)");
}

/// Makes both gradients without the rows of padding, and looks at what they were.
struct Careful final : BackwardRule {
    struct Seen {
        bool stated = false, x_was_zero = true, g_was_zero = true;
    };
    mutable std::map<std::string, Seen> seen;

    std::string name() const override { return "careful"; }
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        Seen& layer = seen[call.layer];
        layer.stated = call.layout.padding.defined();
        const Tensor clean = without_padding(x.matrix(), call);
        layer.x_was_zero = std::ranges::equal(clean.values(), x.matrix().values());
        if (call.needs.gw) saved.keep(Keep::activation, "x", clean);
    }
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override {
        const Tensor clean = without_padding(gy.matrix(), call);
        seen[call.layer].g_was_zero = std::ranges::equal(clean.values(), gy.matrix().values());
        LinearGrads grads;
        if (call.needs.gw) grads.gw = linear_gw(clean, saved.tensor("x"));
        if (call.needs.gx) grads.gx = linear_gx(clean, call.w);
        return grads;
    }
};

class PaddedTexts : public ::testing::Test {
  protected:
    PaddedTexts() {
        BertConfig config = bert_preset("bert-tiny");
        config.vocab_size = 11;
        config.classes = 2;
        model_ = make_text_model(config);
        tokens_.key_padding.data()[3] = tokens_.key_padding.data()[6] = 1;
        tokens_.key_padding.data()[7] = 1;
    }
    /// All gradients of a step, with dropout.
    std::vector<Tensor> gradients() {
        zero_grad(*model_);
        Tape tape({.seed = 1});
        tape.backward(cross_entropy(model_->forward(tape, tokens_), labels_));
        std::vector<Tensor> all;
        for (const Parameter* parameter : parameters(*model_))
            all.push_back(parameter->dense_grad("test").clone());
        return all;
    }

    std::vector<std::int32_t> labels_{0, 1};
    std::unique_ptr<TextModel> model_;
    Tokens tokens_{4, {2, 7, 3, 0, 2, 3, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}, Tensor::zeros({2, 4})};
};

TEST_F(PaddedTexts, GradientsOfPaddingAreZeroAndNoOtherDependsOnIt) {
    const std::vector<Tensor> exact = gradients();
    const auto rule = std::make_shared<Careful>();
    for (LinearMap* layer : linear_maps(*model_)) layer->set_rule(rule);
    const std::vector<Tensor> careful = gradients();
    for (const auto& [layer, seen] : rule->seen) {
        const bool block = layer.starts_with("blocks.");
        EXPECT_EQ(seen.stated, block) << layer << ": pooler and classifier read one token";
        EXPECT_EQ(seen.x_was_zero, !block) << layer;
        EXPECT_TRUE(seen.g_was_zero) << layer;
    }
    ASSERT_EQ(exact.size(), careful.size());
    for (std::size_t i = 0; i < exact.size(); ++i)
        for (std::int64_t j = 0; j < exact[i].numel(); ++j)
            ASSERT_NEAR(exact[i].data()[j], careful[i].data()[j], sizeof(real) == 8 ? 1e-15 : 1e-7)
                << i << ' ' << j;
}

TEST_F(PaddedTexts, AreCounted) {
    EXPECT_EQ(tokens_.padding(), 3);
    EXPECT_EQ(Tokens{}.padding(), 0);
}

}  // namespace
}  // namespace slimgrad
