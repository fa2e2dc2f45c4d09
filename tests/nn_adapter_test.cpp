// Low-rank adapters beside a linear layer: their gradients, what is kept, and what they merge to.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "autograd/ops.h"
#include "nn/attention.h"
#include "nn/gradcheck.h"
#include "nn/low_rank_adapter.h"
#include "tensor/ledger.h"
#include "tensor/ops.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

constexpr double tolerance = sizeof(real) == 8 ? 1e-12 : 1e-5;
constexpr std::int64_t batch = 3, tokens = 4, cx = 6, cy = 5, rank = 2;
constexpr double alpha = 3;

Tensor drawn(Shape shape, const char* what) {
    Stream stream(11, what);
    return normal(std::move(shape), 0, 1, stream);
}

std::map<std::string, Parameter*> by_name(Module& module) {
    std::map<std::string, Parameter*> all;
    for_each_parameter(module, [&](const std::string& name, Parameter& p) { all[name] = &p; });
    return all;
}

/// A layer with an adapter whose B is no longer 0, as after some training.
struct Trained {
    Stream stream{1, "layer"};
    Linear layer{cx, cy, stream};
    std::map<std::string, Parameter*> parameters;

    Trained() {
        layer.add_adapter(rank, alpha, 5);
        name_modules(layer);
        parameters = by_name(layer);
        parameters.at("lora_B.weight")->value.copy_from(drawn({cy, rank}, "B"));
    }
};

/// Plain matrices in double, independent of the library's products.
struct Dense {
    std::int64_t rows, columns;
    std::vector<double> values;

    Dense(std::int64_t rows, std::int64_t columns)
        : rows(rows), columns(columns), values(static_cast<std::size_t>(rows * columns)) {}
    explicit Dense(const Tensor& t) : Dense(t.numel() / t.size(-1), t.size(-1)) {
        std::copy_n(t.data(), t.numel(), values.begin());
    }
    double& at(std::int64_t i, std::int64_t j) {
        return values[static_cast<std::size_t>(i * columns + j)];
    }
    double at(std::int64_t i, std::int64_t j) const {
        return values[static_cast<std::size_t>(i * columns + j)];
    }
    Dense t() const {
        Dense result(columns, rows);
        for (std::int64_t i = 0; i < rows; ++i)
            for (std::int64_t j = 0; j < columns; ++j) result.at(j, i) = at(i, j);
        return result;
    }
};
Dense operator*(const Dense& a, const Dense& b) {
    Dense c(a.rows, b.columns);
    for (std::int64_t i = 0; i < a.rows; ++i)
        for (std::int64_t j = 0; j < b.columns; ++j)
            for (std::int64_t k = 0; k < a.columns; ++k) c.at(i, j) += a.at(i, k) * b.at(k, j);
    return c;
}
Dense operator*(double scale, Dense a) {
    for (double& value : a.values) value *= scale;
    return a;
}
Dense operator+(Dense a, const Dense& b) {
    for (std::size_t i = 0; i < a.values.size(); ++i) a.values[i] += b.values[i % b.values.size()];
    return a;  // a bias is a row for all
}

void expect_close(const Tensor& got, const Dense& expected, const char* what) {
    ASSERT_EQ(got.numel(), std::ssize(expected.values)) << what;
    double error = 0, scale = 0;
    for (std::int64_t i = 0; i < got.numel(); ++i) {
        const double value = expected.values[static_cast<std::size_t>(i)];
        error += std::pow(double{got.data()[i]} - value, 2);
        scale += value * value;
    }
    EXPECT_LT(std::sqrt(error), tolerance * std::sqrt(scale)) << what;
}

TEST(Adapter, GradientsOfAllFiveInputsAreThoseOfFiniteDifferences) {
    Trained t;
    for (const auto& [name, parameter] : t.parameters) parameter->requires_grad = true;
    ASSERT_EQ(t.parameters.size(), 4u);  // and x
    const GradcheckReport report = gradcheck(t.layer, drawn({batch, tokens, cx}, "x"));
    EXPECT_EQ(report.checked,
              batch * tokens * cx + cy * cx + cy + rank * cx + cy * rank - report.skipped);
}

TEST(Adapter, GradientsAreTheDenseFormulas) {
    Trained t;
    const Tensor x = drawn({batch, tokens, cx}, "x"), gy = drawn({batch, tokens, cy}, "gy");
    Tape tape;
    const Var input = tape.input(x);
    const Var y = t.layer.forward(input);
    tape.backward(y, gy);

    const double s = alpha / rank;
    const Dense X(x), G(gy), W(t.parameters.at("weight")->value), b(t.parameters.at("bias")->value),
        A(t.parameters.at("lora_A.weight")->value), B(t.parameters.at("lora_B.weight")->value);
    expect_close(y.value(), X * W.t() + s * (X * A.t() * B.t()) + b, "y");
    expect_close(tape.gradient(input), G * W + s * (G * B * A), "g_x");
    expect_close(t.parameters.at("lora_A.weight")->grad.dense(), s * ((G * B).t() * X), "g_A");
    expect_close(t.parameters.at("lora_B.weight")->grad.dense(), s * (G.t() * (X * A.t())), "g_B");
    EXPECT_FALSE(t.parameters.at("weight")->grad.defined());
    EXPECT_FALSE(t.parameters.at("bias")->grad.defined());
}

TEST(Adapter, ALayerBeginsAsItWas) {
    Stream one(1, "layer"), two(1, "layer");
    Linear plain(cx, cy, one), adapted(cx, cy, two);
    adapted.add_adapter(rank, alpha, 5);
    const Tensor x = drawn({batch, tokens, cx}, "x");
    Tape tape;
    EXPECT_TRUE(identical(adapted.forward(tape.constant(x)).value(),
                          plain.forward(tape.constant(x)).value()));
    // A is drawn, and another seed draws another.
    const auto a_of = [](Linear& layer) { return by_name(layer).at("lora_A.weight")->value; };
    const real bound = 1 / std::sqrt(real(cx));
    for (const real value : a_of(adapted).values()) EXPECT_LE(std::abs(value), bound);
    EXPECT_GT(sum_squares(a_of(adapted)), 0);
    plain.add_adapter(rank, alpha, 5);
    EXPECT_TRUE(identical(a_of(plain), a_of(adapted)));
    Stream three(1, "layer");
    Linear other(cx, cy, three);
    other.add_adapter(rank, alpha, 6);
    EXPECT_FALSE(identical(a_of(other), a_of(adapted)));
}

TEST(Adapter, TheFrozenWeightKeepsNothingAndXIsKeptOnce) {
    Trained t;
    const Tensor x = drawn({batch, tokens, cx}, "x");
    const auto kept = [&] {
        Tape tape;
        const Var input = tape.input(x.clone());
        const Var y = t.layer.forward(input);
        std::map<std::string, std::int64_t> saved = ledger().saved_by_layer();
        tape.backward(y, drawn({batch, tokens, cy}, "gy"));
        return saved;
    };
    constexpr std::int64_t number = sizeof(real);
    auto saved = kept();
    EXPECT_EQ(saved["linear"], 0);
    EXPECT_EQ(saved["lora_A"], batch * tokens * cx * number);
    EXPECT_EQ(saved["lora_B"], batch * tokens * rank * number);
    // Where A is frozen too, nobody needs x.
    t.parameters.at("lora_A.weight")->requires_grad = false;
    saved = kept();
    EXPECT_EQ(saved["lora_A"] + saved["linear"], 0);
    EXPECT_EQ(saved["lora_B"], batch * tokens * rank * number);
    // Where W trains as well, it shares x with A.
    for (const char* name : {"weight", "lora_A.weight"})
        t.parameters.at(name)->requires_grad = true;
    saved = kept();
    EXPECT_EQ(saved["linear"] + saved["lora_A"], batch * tokens * cx * number);
}

TEST(Adapter, AdaptersOfQueriesKeysAndValuesShareTheirInput) {
    Stream stream(1, "attention");
    struct Model final : Module {
        explicit Model(Stream& s) : attention(cx, 2, s) {}
        void visit(Visitor& v) override { v.module("attention", attention); }
        std::string kind() const override { return "model"; }
        MultiHeadAttention attention;
    } model(stream);
    for (LinearMap* layer : linear_maps(model))
        dynamic_cast<Linear&>(*layer).add_adapter(rank, alpha, 5);
    name_modules(model);
    std::map<std::string, std::string> groups;
    for (LinearMap* layer : linear_maps(model)) groups[layer->path()] = layer->input_group();
    ASSERT_EQ(groups.size(), 12u);
    for (const char* name : {"q", "k", "v"}) {
        const std::string path = std::string("attention.") + name;
        EXPECT_EQ(groups[path], "attention.qkv");
        EXPECT_EQ(groups[path + ".lora_A"], "attention.qkv");
        EXPECT_EQ(groups[path + ".lora_B"], path + ".lora_B");
    }
    EXPECT_EQ(groups["attention.proj.lora_A"], "attention.proj");
    Tape tape;
    const Var y = model.attention.forward(tape.input(drawn({batch, tokens, cx}, "x")));
    std::map<std::string, std::int64_t> saved = ledger().saved_by_layer();
    EXPECT_GT(saved["attention.q.lora_A"], 0);
    EXPECT_EQ(saved["attention.k.lora_A"] + saved["attention.v.lora_A"], 0);
    for (const char* name : {"q", "k", "v", "proj"})
        EXPECT_EQ(saved[std::string("attention.") + name], 0) << name;
}

TEST(Adapter, AFusedLayerHasTheRankForEachOfItsMaps) {
    Stream stream(1, "attention");
    MultiHeadAttention attention(cx, 2, stream, {.fused_qkv = true});
    std::map<std::string, Linear*> layers;
    for (LinearMap* layer : linear_maps(attention))
        layers[std::to_string(layer->parts())] = dynamic_cast<Linear*>(layer);
    ASSERT_EQ(layers.count("3") + layers.count("1"), 2u) << "qkv and proj";
    Linear& qkv = *layers.at("3");
    qkv.add_adapter(rank, alpha, 5);
    const auto shapes = by_name(qkv);
    EXPECT_EQ(shapes.at("lora_A.weight")->value.shape(), (Shape{3 * rank, cx}));
    EXPECT_EQ(shapes.at("lora_B.weight")->value.shape(), (Shape{3 * cx, 3 * rank}));
    shapes.at("lora_B.weight")->value.copy_from(drawn({3 * cx, 3 * rank}, "B"));
    const Dense A(shapes.at("lora_A.weight")->value), B(shapes.at("lora_B.weight")->value);
    expect_close(qkv.adapter()->update(), alpha / rank * (B * A), "the scale is that of one");
    EXPECT_EQ(error_of([&] { layers.at("1")->add_adapter(cx + 1, alpha, 5); }),
              "[linear] expected an adapter of rank 1 to 6, got 7");
}

TEST(Adapter, MergedWeightsComputeTheSame) {
    Trained t;
    std::map<std::string, Tensor> merged;
    for_each_merged_value(
        t.layer, [&](const std::string& name, const Tensor& value) { merged[name] = value; });
    ASSERT_EQ(merged.size(), 2u);
    const Dense W(t.parameters.at("weight")->value), A(t.parameters.at("lora_A.weight")->value),
        B(t.parameters.at("lora_B.weight")->value);
    expect_close(merged.at("weight"), W + alpha / rank * (B * A), "W");
    EXPECT_TRUE(identical(merged.at("bias"), t.parameters.at("bias")->value));
    expect_close(t.parameters.at("weight")->value, W, "the weight itself stays");

    Stream stream(1, "layer");
    Linear plain(cx, cy, stream);
    const auto parameters = by_name(plain);
    for (const auto& [name, value] : merged) parameters.at(name)->value.copy_from(value);
    const Tensor x = drawn({batch, tokens, cx}, "x");
    Tape tape;
    expect_close(t.layer.forward(tape.constant(x)).value(),
                 Dense(plain.forward(tape.constant(x)).value()), "y");
    std::vector<std::string> base;
    for_each_base_parameter(t.layer,
                            [&](const std::string& name, Parameter&) { base.push_back(name); });
    EXPECT_EQ(base, (std::vector<std::string>{"weight", "bias"}));
    EXPECT_TRUE(has_adapters(t.layer));
    EXPECT_FALSE(has_adapters(plain));
}

TEST(Adapter, ALayerMayBeUsedTwiceInOneGraph) {
    Stream stream(1, "layer");
    Linear layer(cx, cx, stream);
    layer.add_adapter(rank, alpha, 5);
    by_name(layer).at("lora_B.weight")->value.copy_from(drawn({cx, rank}, "B"));
    gradcheck(layer,
              [&](Tape&, const std::vector<Var>& in) {
                  return layer.forward(layer.forward(in.at(0)) * in.at(0));
              },
              {drawn({batch, tokens, cx}, "x")});
}

TEST(Adapter, WhatCannotBeIsRefused) {
    Stream stream(1, "layer");
    Linear layer(cx, cy, stream);
    const auto refused = [&](std::int64_t r, double a) {
        return error_of([&] { layer.add_adapter(r, a, 5); });
    };
    EXPECT_EQ(refused(0, 1), "[linear] expected an adapter of rank 1 to 5, got 0");
    EXPECT_EQ(refused(6, 1), "[linear] expected an adapter of rank 1 to 5, got 6");
    for (const double alpha : {0.0, -1.0, 1e9, std::numeric_limits<double>::infinity()})
        EXPECT_EQ(
            refused(2, alpha),
            fmt::format("[linear] expected an alpha above 0 and at most 1000, got {}", alpha));
    EXPECT_TRUE(layer.weight().requires_grad) << "a layer that was refused one is as it was";
    EXPECT_EQ(refused(2, 1), "no error");
    EXPECT_EQ(refused(2, 1), "[linear] the layer has an adapter already");
}

}  // namespace
}  // namespace slimgrad
