// What a rule is told of a call: where it is, how its tokens lie, and random numbers of its own.
#include <gtest/gtest.h>

#include <map>

#include "autograd/ops.h"
#include "nn/conv2d.h"
#include "nn/linear.h"
#include "nn/models/model.h"
#include "nn/models/text_model.h"
#include "tensor/ops.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

/// The exact rule, which writes down the calls that it is told of.
struct Witness final : BackwardRule {
    mutable std::map<std::string, std::vector<LinearCall>> saved, backwards;
    std::string name() const override { return "witness"; }
    void save(const LinearInput& x, Saved& kept, const LinearCall& call) const override {
        saved[call.layer].push_back(call);
        ExactRule::instance()->save(x, kept, call);
    }
    LinearGrads backward(const LinearGradient& gy, const Saved& kept,
                         const LinearCall& call) const override {
        backwards[call.layer].push_back(call);
        return ExactRule::instance()->backward(gy, kept, call);
    }
};

std::shared_ptr<Witness> witness(Module& model) {
    auto rule = std::make_shared<Witness>();
    for (LinearMap* layer : linear_maps(model)) layer->set_rule(rule);
    return rule;
}

std::vector<real> drawn(const LinearCall& call, const std::string& purpose, std::int64_t sample) {
    Stream stream = call.stream(purpose, sample);
    const Tensor values = normal({4}, 0, 1, stream);
    return {values.values().begin(), values.values().end()};
}

TEST(LinearCall, IsTheSameInForwardAndBackwardAndNamesTheLayer) {
    const auto model = make_model("vit-micro", {.channels = 1, .height = 28, .width = 28});
    const auto rule = witness(*model);
    Tape tape({.seed = 3, .step = 9, .first_sample = 2});
    tape.backward(sum(model->forward(tape.constant(Tensor::full({2, 1, 28, 28}, real(0.5))))));
    ASSERT_EQ(rule->saved.size(), linear_maps(*model).size());
    for (LinearMap* layer : linear_maps(*model)) {
        SCOPED_TRACE(layer->path());
        ASSERT_EQ(rule->saved[layer->path()].size(), 1u);
        ASSERT_EQ(rule->backwards[layer->path()].size(), 1u);
        const LinearCall &there = rule->saved[layer->path()][0],
                         &back = rule->backwards[layer->path()][0];
        EXPECT_EQ(there.w.data(), layer->weight().value.data());
        EXPECT_TRUE(back.needs.gw && back.needs.gb);
        EXPECT_EQ(there.step, 9u);
        EXPECT_EQ(drawn(there, "P", 1), drawn(back, "P", 1));
    }
}

TEST(LinearCall, DrawsAreThoseOfSeedStepLayerSampleAndPurpose) {
    LinearCall call{.layer = "a", .seed = 1, .step = 2, .first_sample = 4};
    const std::vector<real> first = drawn(call, "P", 0);
    EXPECT_NE(drawn(call, "Q", 0), first);
    EXPECT_NE(drawn(call, "P", 1), first);
    LinearCall part = call;  // of the same batch: its first sample was the second
    part.first_sample = 5;
    EXPECT_EQ(drawn(part, "P", 0), drawn(call, "P", 1));
    for (const auto& change : std::vector<std::function<void(LinearCall&)>>{
             [](LinearCall& c) { c.layer = "b"; }, [](LinearCall& c) { c.seed = 0; },
             [](LinearCall& c) { c.step = 3; }}) {
        LinearCall other = call;
        change(other);
        EXPECT_NE(drawn(other, "P", 0), first);
    }
}

TEST(LinearCall, TheGridIsThatOfTheModelOrOfTheConvolution) {
    const auto model = make_model("vit-micro", {.channels = 1, .height = 32, .width = 16});
    const auto rule = witness(*model);
    Tape tape;
    model->forward(tape.input(Tensor::full({1, 1, 32, 16}, 1)));
    for (const char* layer : {"patch_embed", "blocks.0.attention.proj", "blocks.1.fc2"}) {
        ASSERT_TRUE(rule->saved.contains(layer)) << layer;
        const TokenLayout& grid = rule->saved[layer][0].grid();
        EXPECT_EQ(grid.rows, 2 * grid.columns) << layer;
        EXPECT_EQ(grid.rows * grid.columns, rule->saved[layer][0].op->tokens());
        EXPECT_EQ(grid.extra, 0);
    }
    // The head sees one vector, not tokens.
    EXPECT_NE(
        error_of([&] { rule->saved["head"][0].grid(); }).find("[head] the model states a grid"),
        std::string::npos);

    Stream stream(1, "test");
    Conv2d conv(2, 3, {.stride = 2, .padding = 1}, stream);
    const auto of_conv = witness(conv);
    Tape other;
    conv.forward(other.input(Tensor::full({1, 2, 6, 10}, 1)));
    const TokenLayout& grid = of_conv->saved.at("conv2d")[0].grid();
    EXPECT_EQ(grid.rows, 3);
    EXPECT_EQ(grid.columns, 5);
}

TEST(LinearCall, WithoutAStatementThereIsNoGrid) {
    Stream stream(1, "test");
    Linear layer(5, 3, stream);
    const auto rule = witness(layer);
    Tape tape;
    const Var x = tape.input(Tensor::full({2, 9, 5}, 1));
    layer.forward(x);
    {
        const TokenScope tokens(tape, {.rows = 2, .columns = 4, .extra = 1});
        layer.forward(x);
    }
    layer.forward(x);
    const std::vector<LinearCall>& calls = rule->saved.at("linear");
    EXPECT_EQ(
        error_of([&] { calls[0].grid(); }),
        "[linear] the method treats tokens as an image, but the model states no grid of them. "
        "Hint: TokenScope");
    EXPECT_EQ(calls[1].grid().extra, 1);
    EXPECT_NE(error_of([&] { calls[2].grid(); }), "no error");
}

TEST(LinearCall, PaddingIsThatOfTheTexts) {
    BertConfig config = bert_preset("bert-tiny");
    config.vocab_size = 11;
    const auto model = make_text_model(config);
    const auto rule = witness(*model);
    Tokens tokens{3, {2, 7, 3, 2, 3, 0}, {0, 0, 0, 0, 0, 0}, Tensor::zeros({2, 3})};
    tokens.key_padding.data()[5] = 1;
    Tape tape;
    model->forward(tape, tokens);
    EXPECT_EQ(rule->saved.at("blocks.0.fc1")[0].layout.padding.data(), tokens.key_padding.data());
    EXPECT_FALSE(tape.tokens().padding.defined());
}

}  // namespace
}  // namespace slimgrad
