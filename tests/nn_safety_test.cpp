// What users give to layers: rules, replaced parameters, sizes, and models that show one part
// twice.
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "autograd/ops.h"
#include "instant/calibration/calibrator.h"
#include "instant/cost/trace.h"
#include "nn/attention.h"
#include "nn/batch_norm.h"
#include "nn/conv2d.h"
#include "nn/embedding.h"
#include "nn/gradcheck.h"
#include "nn/layer_norm.h"
#include "nn/models/model.h"
#include "nn/pooling.h"
#include "optim/clip.h"
#include "optim/optimizer.h"
#include "tensor/ops.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

/// Gives what it is told to.
struct Told final : BackwardRule {
    Tensor y{};
    LinearGrads grads{};
    std::string name() const override { return "told"; }
    Tensor forward(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        return y.defined() ? y : BackwardRule::forward(x, saved, call);
    }
    void save(const LinearInput&, Saved&, const LinearCall&) const override {}
    LinearGrads backward(const LinearGradient&, const Saved&, const LinearCall&) const override {
        meter().add(0);
        return grads;
    }
};

/// Forward and backward of a layer on x, as the user sees its errors.
std::string run(LinearMap& layer, const Tensor& x, const Told& rule) {
    layer.set_rule(std::make_shared<Told>(rule));
    return error_of([&] {
        Tape tape;
        tape.backward(sum(layer.forward(tape.input(x))));
    });
}

// x (2, 4, 5), W (3, 5), b (3,)
TEST(Rules, GiveGradientsOfTheRightShapeOrAnError) {
    Stream stream(1, "test");
    Linear layer(5, 3, stream);
    const Tensor x = Tensor::zeros({2, 4, 5}), gx = Tensor::zeros({2, 4, 5}),
                 gw = Tensor::zeros({3, 5}), gb = Tensor::zeros({3});
    const auto with = [&](Tensor a, Tensor b, Tensor c) {
        Told rule;
        rule.grads = {std::move(a), Grad(std::move(b)), std::move(c)};
        return run(layer, x, rule);
    };
    EXPECT_EQ(with(gx, gw, gb), "no error");
    EXPECT_EQ(with(gx, gw, Tensor()), "no error");  // the layer makes g_b itself
    EXPECT_EQ(with(Tensor::zeros({2, 4, 6}), gw, gb),
              "[linear] the rule 'told' must give g_x of shape (2, 4, 5), got (2, 4, 6)");
    EXPECT_EQ(with(Tensor::zeros({8, 5}), gw, gb),
              "[linear] the rule 'told' must give g_x of shape (2, 4, 5), got (8, 5)");
    EXPECT_EQ(with(gx, Tensor::zeros({5, 3}), gb),
              "[linear] the rule 'told' must give g_w of shape (3, 5), got (5, 3)");
    EXPECT_EQ(with(gx, gw, Tensor::zeros({20000})),
              "[linear] the rule 'told' must give g_b of shape (3,), got (20000,)");
    EXPECT_EQ(with(Tensor(), gw, gb),
              "[linear] the rule 'told' must give g_x of shape (2, 4, 5), got nothing");
    EXPECT_EQ(with(gx, Tensor(), gb),
              "[linear] the rule 'told' must give g_w of shape (3, 5), got nothing");
    Told forward;
    forward.y = Tensor::zeros({2, 4, 4});
    EXPECT_EQ(run(layer, x, forward),
              "[linear] the rule 'told' must give y of shape (2, 4, 3), got (2, 4, 4)");
    // What a frozen weight does not need is not looked at.
    layer.weight().requires_grad = false;
    EXPECT_EQ(with(gx, Tensor::zeros({1}), gb), "no error");
}

TEST(Rules, OfAConvolutionAreHeldToTheUnfoldedShapes) {
    Stream stream(1, "test");
    Conv2d layer(2, 3, {.kernel = 3, .padding = 1}, stream);  // W as (3, 18), 16 positions
    const Tensor x = Tensor::zeros({2, 2, 4, 4});
    const auto with = [&](const Shape& gx, const Shape& gw) {
        Told rule;
        rule.grads = {Tensor::zeros(gx), Grad(Tensor::zeros(gw))};
        return run(layer, x, rule);
    };
    EXPECT_EQ(with({2, 16, 18}, {3, 18}), "no error");
    EXPECT_EQ(with({2, 16, 18}, {3, 17}),
              "[conv2d] the rule 'told' must give g_w of shape (3, 18), got (3, 17)");
    EXPECT_EQ(with({2, 2, 4, 4}, {3, 18}), "no error");  // or as the layer has x
    EXPECT_EQ(
        with({2, 2, 4, 5}, {3, 18}),
        "[conv2d] the rule 'told' must give g_x of shape (2, 16, 18) or (2, 2, 4, 4), got (2, "
        "2, 4, 5)");
}

TEST(Rules, MayLeaveAConvolutionsGradientOnABasis) {
    struct Rows final : Basis {
        Tensor expand(const Tensor& compressed) const override {
            return broadcast_to(compressed, {3, 18});
        }
    };
    Stream stream(1, "test");
    Conv2d layer(2, 3, {.kernel = 3, .padding = 1, .bias = false}, stream);
    Told rule;
    rule.grads = {Tensor::zeros({2, 16, 18}),
                  Grad(Tensor::full({1, 18}, 1), std::make_shared<Rows>())};
    EXPECT_EQ(run(layer, Tensor::zeros({2, 2, 4, 4}), rule), "no error");
    EXPECT_EQ(layer.weight().grad.value.shape(), (Shape{1, 18}));  // until the update
    EXPECT_EQ(layer.weight().dense_grad("weight").shape(), (Shape{3, 2, 3, 3}));
    const real before = layer.weight().value.at({2, 1, 2, 2});
    make_optimizer(layer, {.name = "sgd", .lr = 1})->step();
    EXPECT_NEAR(layer.weight().value.at({2, 1, 2, 2}), before - 1, 1e-6);
}

TEST(Rules, KeepTheOutputThatTheyGive) {
    Stream stream(1, "test");
    Linear layer(5, 3, stream);
    layer.bias()->value.fill(1);
    Told rule;
    rule.y = Tensor::zeros({2, 4, 3});  // the rule still holds it when the bias is added
    rule.grads = {Tensor::zeros({2, 4, 5}), Grad(Tensor::zeros({3, 5}))};
    EXPECT_EQ(run(layer, Tensor::zeros({2, 4, 5}), rule), "no error");
    EXPECT_EQ(sum_squares(rule.y), 0);
}

TEST(ReplacedParameters, OfAnotherShapeAreErrors) {
    Stream stream(1, "test");
    const auto forward = [](Module& layer, const Tensor& x) {
        return error_of([&] {
            Tape tape;
            layer.forward(tape.input(x));
        });
    };
    const auto replace = [](Module& layer, const std::string& name, const Shape& shape) {
        for_each_parameter(layer, [&](const std::string& path, Parameter& p) {
            if (path == name) p.value = Tensor::zeros(shape);
        });
    };
    LayerNorm norm(8);
    replace(norm, "bias", {2});
    EXPECT_EQ(forward(norm, Tensor::zeros({4, 8})),
              "[layer_norm] expected a bias of shape (8,), got (2,)");
    BatchNorm1d batch(8);
    batch.running_var() = Tensor::zeros({1});
    EXPECT_EQ(forward(batch, Tensor::zeros({4, 8})),
              "[batch_norm1d] expected a running variance of shape (8,), got (1,)");
    Conv2d conv(2, 3, {.kernel = 3}, stream);
    replace(conv, "bias", {1});
    EXPECT_EQ(forward(conv, Tensor::zeros({1, 2, 4, 4})),
              "[conv2d] expected a bias of shape (3,), got (1,)");
    replace(conv, "weight", {3, 2, 3, 2});
    EXPECT_EQ(forward(conv, Tensor::zeros({1, 2, 4, 4})),
              "[conv2d] expected a weight of shape (3, 2, 3, 3), got (3, 2, 3, 2)");
    Linear linear(5, 3, stream);
    replace(linear, "bias", {4});
    EXPECT_NE(forward(linear, Tensor::zeros({2, 5})), "no error");
    replace(linear, "weight", {15});
    EXPECT_EQ(forward(linear, Tensor::zeros({2, 5})),
              "[linear] expected a weight (out_features, in_features), got (15,)");
    Embedding table(10, 4, stream, 9);
    table.weight().value = Tensor::zeros({5, 4});
    Tape tape;
    const std::vector<std::int32_t> one{1};
    EXPECT_EQ(error_of([&] { table.forward(tape, one, {1}); }),
              "[embedding] expected a table of more than 9 rows, got (5, 4)");
}

TEST(LayerSizes, ThatDoNotFitAreErrors) {
    Stream stream(1, "test");
    EXPECT_THROW(Linear(most, most, stream), Error);
    EXPECT_THROW(Linear(4, -1, stream), Error);
    EXPECT_THROW(MultiHeadAttention(most, 1, stream, {.fused_qkv = true}), Error);
    EXPECT_THROW(Embedding(most, 2, stream), Error);
    EXPECT_THROW(Conv2d(most, 1, {.kernel = Size2d(most, most)}, stream), Error);
    EXPECT_THROW(MaxPool2d({.kernel = Size2d(std::int64_t{1} << 32)}), Error);
    EXPECT_THROW(AvgPool2d({.kernel = 2, .padding = most}), Error);
    Tape tape;
    const Var x = tape.input(Tensor::zeros({1, 1, 4, 4}));
    const auto convolve = [&](const Conv2dOptions& options) {
        return Conv2d(1, 1, options, stream).forward(x).shape();
    };
    EXPECT_EQ(convolve({.stride = 1 << 20}), (Shape{1, 1, 1, 1}));
    EXPECT_THROW(convolve({.padding = most}), Error);
    EXPECT_THROW(convolve({.padding = most / 4}), Error);
    EXPECT_THROW(convolve({.dilation = most}), Error);
    EXPECT_EQ(AvgPool2d({.kernel = 3, .stride = most}).forward(x).shape(), (Shape{1, 1, 1, 1}));
    const std::vector<std::int32_t> none;
    Embedding table(10, 4, stream);
    EXPECT_THROW(table.forward(tape, none, {0, most, most}), Error);
    for (const std::string& name : model_names()) {
        if (name.starts_with("vit-b")) continue;  // as vit-ti16, and large
        EXPECT_THROW(make_model(name, {.classes = most}), Error) << name;
        EXPECT_THROW(make_model(name, {.channels = most}), Error) << name;
        EXPECT_THROW(make_model(name, {.height = most, .width = most}), Error) << name;
    }
}

TEST(Attention, AMaskThatChangesBeforeBackwardIsAnError) {
    Stream stream(1, "test");
    MultiHeadAttention layer(4, 2, stream);
    AttentionMask mask{Tensor::zeros({3, 3}), Tensor::zeros({2, 3})};
    const auto with = [&](auto change) {
        return error_of([&] {
            Tape tape;
            const Var y = sum(layer.forward(tape.input(Tensor::full({2, 3, 4}, 1)), mask));
            change();
            tape.backward(y);
        });
    };
    EXPECT_EQ(with([] {}), "no error");
    EXPECT_TRUE(with([&] { mask.additive.fill(1); }).starts_with("[attention] 'mask' was changed"));
    EXPECT_TRUE(
        with([&] { mask.key_padding.fill(0); }).starts_with("[attention] 'padding' was changed"));
}

/// One layer under two names, its weight under a third, and a norm twice.
class Twice final : public Module {
  public:
    explicit Twice(Stream& stream) : layer_(4, 4, stream), norm_(4) { name_modules(*this); }
    Var forward(const Var& x) override { return layer_.forward(norm_.forward(layer_.forward(x))); }
    void visit(Visitor& visitor) override {
        visitor.module("first", layer_);
        visitor.module("second", layer_);
        visitor.parameter("tied", layer_.weight());
        visitor.module("norm", norm_);
        visitor.module("norm_again", norm_);
        visitor.buffer("mean", norm_.running_mean());
        visitor.module("myself", *this);
    }
    std::string kind() const override { return "twice"; }
    Linear& layer() { return layer_; }

  private:
    Linear layer_;
    BatchNorm1d norm_;
};

TEST(SharedParts, ArePresentedOnceUnderTheirFirstName) {
    Stream stream(1, "test");
    Twice model(stream);
    std::vector<std::string> parameters, buffers, modules;
    for_each_parameter(model, [&](const auto& name, auto&) { parameters.push_back(name); });
    for_each_buffer(model, [&](const auto& name, auto&) { buffers.push_back(name); });
    for_each_module(model, [&](const auto& name, auto&) { modules.push_back(name); });
    EXPECT_EQ(parameters,
              (std::vector<std::string>{"first.weight", "first.bias", "norm.weight", "norm.bias"}));
    EXPECT_EQ(buffers, (std::vector<std::string>{"norm.running_mean", "norm.running_var"}));
    EXPECT_EQ(modules, (std::vector<std::string>{"", "first", "norm"}));
    EXPECT_EQ(model.layer().path(), "first");
    EXPECT_EQ(linear_maps(model).size(), 1u);
}

TEST(SharedParts, CountOnceInClippingAndInTheOptimizer) {
    /// A Linear(2, 2) with bias: six gradients of 3.
    class Pair final : public Module {
      public:
        explicit Pair(Stream& stream) : layer(2, 2, stream) {}
        void visit(Visitor& visitor) override {
            visitor.module("a", layer);
            visitor.module("b", layer);
        }
        std::string kind() const override { return "pair"; }
        Linear layer;
    };
    Stream stream(1, "test");
    Pair model(stream);
    model.layer.weight().grad = Tensor::full({2, 2}, 3);
    model.layer.bias()->grad = Tensor::full({2}, 3);
    EXPECT_NEAR(clip_grad_norm(model, 1), std::sqrt(54.0), 1e-6);
    EXPECT_NEAR(
        sum_squares(model.layer.weight().grad.value) + sum_squares(model.layer.bias()->grad.value),
        1, 1e-5);
    const real before = model.layer.bias()->value.at({0});
    const real gradient = model.layer.bias()->grad.value.at({0});
    make_optimizer(model, {.name = "sgd", .lr = 1})->step();
    EXPECT_NEAR(model.layer.bias()->value.at({0}), before - gradient, 1e-6);
}

TEST(SharedParts, AreCheckedAndTracedAndCalibratedOnce) {
    Stream stream(1, "test");
    Twice model(stream);
    const Tensor x = normal({8, 4}, 0, 1, stream);
    if (sizeof(real) == 8) {
        EXPECT_LT(gradcheck(model, x).max_error, 1e-6);
    }
    const std::shared_ptr<const BackwardRule> rule = model.layer().rule();
    const auto shapes = trace_linear_maps(model, [&] {
        Tape tape;
        model.forward(tape.input(x));
    });
    EXPECT_EQ(shapes.size(), 2u);  // two calls of one layer
    EXPECT_EQ(model.layer().rule(), rule);

    class Tokens final : public Module {
      public:
        explicit Tokens(Stream& stream) : layer(4, 4, stream) { name_modules(*this); }
        Var forward(const Var& x) override { return layer.forward(layer.forward(x)); }
        void visit(Visitor& visitor) override {
            visitor.module("a", layer);
            visitor.module("b", layer);
        }
        std::string kind() const override { return "tokens"; }
        Linear layer;
    };
    Tokens tokens(stream);
    Calibrator calibrator(tokens, {.method = "instant", .rank_x = 2, .rank_g = 2});
    const Tensor rows = normal({8, 6, 4}, 0, 1, stream);
    calibrator.calibrate([&] {
        Tape tape({.update_statistics = false});
        const Var y = tokens.forward(tape.input(rows));
        tape.backward(y, normal(y.shape(), 0, 1, stream));
    });
    ASSERT_EQ(calibrator.ranks().size(), 1u);
    EXPECT_EQ(calibrator.ranks()[0].rank_x, 2);
    EXPECT_EQ(calibrator.ranks()[0].rank_g, 2);
    EXPECT_EQ(calibrator.ranks()[0].note, "");
}

}  // namespace
}  // namespace slimgrad
