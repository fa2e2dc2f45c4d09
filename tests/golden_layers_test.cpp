#include <gtest/gtest.h>

#include <functional>
#include <type_traits>

#include "autograd/ops.h"
#include "golden/golden.h"
#include "nn/attention.h"
#include "nn/batch_norm.h"
#include "nn/conv2d.h"
#include "nn/embedding.h"
#include "nn/flatten.h"
#include "nn/gelu.h"
#include "nn/layer_norm.h"
#include "nn/linear.h"
#include "nn/losses.h"
#include "nn/pooling.h"
#include "nn/relu.h"
#include "nn/silu.h"
#include "nn/softmax.h"
#include "nn/upsample.h"
#include "nn/zero_pad.h"

// Forward and gradients of every layer against PyTorch in float64 (tests/golden/layers.py). All
// inputs and parameters are exact in float, so the float build is compared with the same values.

namespace slimgrad {
namespace {

/// Relative to the largest value of each tensor. Measured: 2e-15 in double and 1.5e-6 in float.
constexpr double tolerance = sizeof(real) == 8 ? 1e-12 : 1e-5;

const GoldenFile& golden() {
    static const GoldenFile file("layers");
    return file;
}

struct LayerCase {
    std::string name;
    std::function<std::unique_ptr<Module>()> make;                           // null: no module
    std::function<Var(Module*, const std::vector<Var>& inputs)> apply = {};  // default: forward
    bool training = true;

    friend void PrintTo(const LayerCase& c, std::ostream* out) { *out << c.name; }
};

/// A layer with one input. Constructors that draw initial values get a stream.
template <class Layer, class... Args>
LayerCase layer(std::string name, Args... args) {
    return {std::move(name),
            [=] {
                if constexpr (std::is_constructible_v<Layer, Args..., Stream&>) {
                    Stream stream(0, "replaced");
                    return std::make_unique<Layer>(args..., stream);
                } else {
                    return std::make_unique<Layer>(args...);
                }
            },
            [](Module* module, const std::vector<Var>& in) { return module->forward(in[0]); }};
}

LayerCase evaluated(LayerCase c) {
    c.name += "_eval";
    c.training = false;
    return c;
}

/// A function of inputs a, b ...; in place of a layer.
template <class F>
LayerCase function(std::string name, F f) {
    return {std::move(name), nullptr, [f](Module*, const std::vector<Var>& in) {
                if constexpr (std::is_invocable_v<F, Var>)
                    return f(in[0]);
                else if constexpr (std::is_invocable_v<F, Var, Var>)
                    return f(in[0], in[1]);
                else
                    return f(in);
            }};
}

LayerCase linear_without_bias(std::string name, std::int64_t in, std::int64_t out) {
    LayerCase c = layer<Linear>(std::move(name), in, out);
    c.make = [=] {
        Stream stream(0, "replaced");
        return std::make_unique<Linear>(in, out, stream, false);
    };
    return c;
}

std::vector<LayerCase> linear() {
    return {layer<Linear>("linear_2d", 6, 5), linear_without_bias("linear_2d_no_bias", 6, 5),
            layer<Linear>("linear_3d", 7, 3), linear_without_bias("linear_3d_no_bias", 7, 3),
            layer<Linear>("linear_4d", 4, 6)};
}

std::vector<LayerCase> convolution() {
    using O = Conv2dOptions;
    const auto conv = [](const char* name, O options, std::int64_t in = 3, std::int64_t out = 4) {
        return layer<Conv2d>(std::string("conv2d_") + name, in, out, options);
    };
    return {
        conv("plain", {}),
        conv("no_bias", {.bias = false}),
        conv("padding", {.padding = 1}),
        conv("stride", {.stride = 2, .padding = 1}),
        conv("dilation", {.padding = 2, .dilation = 2}),
        conv("pointwise", {.kernel = 1}),
        conv("pointwise_stride", {.kernel = 1, .stride = 2}),
        conv("patches", {.kernel = 4, .stride = 4}),
        conv("rectangular",
             {.kernel = {2, 5}, .stride = {3, 1}, .padding = {1, 2}, .dilation = {2, 1}}),
        conv("groups", {.padding = 1, .groups = 2}, 4, 6),
        conv("groups_stride", {.kernel = {3, 2}, .stride = 2, .dilation = {1, 2}, .groups = 3}, 6,
             9),
        conv("depthwise", {.padding = 1, .groups = 5}, 5, 5),
        conv("depthwise_two", {.stride = 2, .padding = 1, .groups = 3, .bias = false}, 3, 6),
    };
}

std::vector<LayerCase> normalisation() {
    return {
        layer<BatchNorm1d>("batch_norm1d", 4),
        evaluated(layer<BatchNorm1d>("batch_norm1d", 4)),
        layer<BatchNorm1d>("batch_norm1d_3d", 4),
        evaluated(layer<BatchNorm1d>("batch_norm1d_3d", 4)),
        layer<BatchNorm2d>("batch_norm2d", 4),
        evaluated(layer<BatchNorm2d>("batch_norm2d", 4)),
        layer<BatchNorm2d>("batch_norm2d_options", 3, 0.01, 0.3),
        layer<LayerNorm>("layer_norm", 9),
        layer<LayerNorm>("layer_norm_2d", 16, 0.01),
    };
}

std::vector<LayerCase> activations() {
    return {layer<ReLU>("relu"),      layer<ReLU6>("relu6"),
            layer<GELU>("gelu_erf"),  layer<GELU>("gelu_tanh", GELU::Form::tanh),
            layer<SiLU>("silu"),      layer<Softmax>("softmax"),
            layer<Flatten>("flatten")};
}

std::vector<LayerCase> attention() {
    const auto mha = [](const std::string& name, bool fused, auto mask) {
        AttentionOptions options;
        options.fused_qkv = fused;
        LayerCase c{name, nullptr, nullptr};
        c.make = [=] {
            Stream stream(0, "replaced");
            return std::make_unique<MultiHeadAttention>(8, 2, stream, options);
        };
        c.apply = [=](Module* module, const std::vector<Var>& in) {
            return dynamic_cast<MultiHeadAttention&>(*module).forward(in[0], mask(name + "/mask"));
        };
        return c;
    };
    const auto none = [](const std::string&) { return AttentionMask{}; };
    const auto causal = [](const std::string& key) {
        return AttentionMask{AttentionMask::from_boolean(golden()[key]), {}};
    };
    const auto padding = [](const std::string& key) { return AttentionMask{{}, golden()[key]}; };
    const auto additive = [](const std::string& key) { return AttentionMask{golden()[key], {}}; };
    return {mha("mha", false, none), mha("mha_fused", true, none), mha("mha_causal", true, causal),
            mha("mha_padding", false, padding), mha("mha_additive", true, additive)};
}

std::vector<std::int32_t> integers(const Tensor& t) {
    return {t.values().begin(), t.values().end()};
}

LayerCase embedding() {
    LayerCase c = layer<Embedding>("embedding", 7, 4);
    c.apply = [](Module* module, const std::vector<Var>& in) {
        return dynamic_cast<Embedding&>(*module).forward(in[0].tape(), integers(in[0].value()),
                                                         in[0].shape());
    };
    return c;
}

std::vector<LayerCase> losses() {
    std::vector<LayerCase> cases = {
        function("mse", [](const Var& x, const Var& target) { return mse(x, target); })};
    const std::map<std::string, CrossEntropyOptions> all = {
        {"cross_entropy", {}},
        {"cross_entropy_smooth", {.label_smoothing = 0.1}},
        {"cross_entropy_ignore", {}},
        {"cross_entropy_ignore_two", {.ignore_index = 2}},
        {"cross_entropy_smooth_ignore", {.label_smoothing = 0.2}},
    };
    for (const auto& [name, options] : all)
        cases.push_back(function(name, [options = options](const Var& x, const Var& labels) {
            return cross_entropy(x, integers(labels.value()), options);
        }));
    return cases;
}

std::vector<LayerCase> pooling() {
    // A kernel of 5 x 3 with stride 3 x 2: 7 rows become 3 places of 11, 6 columns 3 of 7.
    std::vector<LayerCase> cases = {
        layer<GlobalAvgPool2d>("global_avg_pool2d"),
        layer<UpsampleBilinear2d>("upsample_bilinear2d", 2),
        layer<UpsampleBilinear2d>("upsample_bilinear2d_by_3", 3),
        layer<AvgPool2d>(
            "avg_pool2d_inside",
            PoolOptions{.kernel = 3, .stride = 1, .padding = 1, .count_include_pad = false}),
        layer<SamePad2d>("same_pad2d", Size2d{5, 3}, Size2d{3, 2})};
    const std::map<std::string, PoolOptions> all = {
        {"plain", {.kernel = 2}},
        {"ragged", {.kernel = 2}},
        {"overlap", {.kernel = 3, .stride = 2}},
        {"padding", {.kernel = 3, .stride = 2, .padding = 1}},
        {"rectangular", {.kernel = {3, 2}, .stride = {1, 2}, .padding = {1, 0}}},
    };
    for (const auto& [name, options] : all) {
        cases.push_back(layer<AvgPool2d>("avg_pool2d_" + name, options));
        cases.push_back(layer<MaxPool2d>("max_pool2d_" + name, options));
    }
    return cases;
}

std::vector<LayerCase> structural() {
    std::vector<LayerCase> cases;
    for (const char* i : {"_0", "_1", "_2", "_3"}) {
        cases.push_back(
            function(std::string("add") + i, [](const Var& a, const Var& b) { return a + b; }));
        cases.push_back(
            function(std::string("sub") + i, [](const Var& a, const Var& b) { return a - b; }));
        cases.push_back(
            function(std::string("mul") + i, [](const Var& a, const Var& b) { return a * b; }));
    }
    const auto product = [](std::string name, Op op_a = Op::none, Op op_b = Op::none) {
        return function(std::move(name),
                        [=](const Var& a, const Var& b) { return matmul(a, b, op_a, op_b); });
    };
    const std::vector<LayerCase> others = {
        function("scale", [](const Var& x) { return real(0.75) * x; }),
        function("neg", [](const Var& x) { return -x; }),
        function("exp", [](const Var& x) { return exp(x); }),
        function("tanh", [](const Var& x) { return tanh(x); }),
        function("log", [](const Var& x) { return log(x); }),
        function("sqrt", [](const Var& x) { return sqrt(x); }),
        function("pow", [](const Var& x) { return pow(x, real(2.5)); }),
        function("reshape",
                 [](const Var& x) {
                     return reshape(x, {4, -1});
                 }),
        function("transpose",
                 [](const Var& x) {
                     return transpose(x, {2, 0, 1});
                 }),
        function("slice", [](const Var& x) { return slice(x, 1, 1, 3); }),
        function("concat", [](const std::vector<Var>& in) { return concat(in, 1); }),
        product("matmul"),
        product("matmul_batch"),
        product("matmul_shared"),
        product("matmul_tn", Op::transpose),
        product("matmul_nt", Op::none, Op::transpose),
        product("matmul_tt", Op::transpose, Op::transpose),
        function("sum", [](const Var& x) { return sum(x); }),
        function("mean", [](const Var& x) { return mean(x); }),
        function("sum_axis", [](const Var& x) { return sum(x, 1); }),
        function("mean_axis", [](const Var& x) { return mean(x, 1); }),
    };
    cases.insert(cases.end(), others.begin(), others.end());
    return cases;
}

std::vector<LayerCase> all_cases() {
    std::vector<LayerCase> all;
    for (const auto& part : {linear(), convolution(), normalisation(), activations(), attention(),
                             pooling(), losses(), structural()})
        all.insert(all.end(), part.begin(), part.end());
    all.push_back(embedding());
    return all;
}

class Layers : public ::testing::TestWithParam<LayerCase> {};

TEST_P(Layers, ForwardAndGradients) {
    const LayerCase& c = GetParam();
    const std::string prefix = c.name + "/";
    ASSERT_TRUE(golden().has(prefix + "y")) << "PyTorch's side has no such case";
    const auto expect = [&](const std::string& key, const Tensor& got) {
        expect_close(key, got, golden()[prefix + key], tolerance);
    };
    const std::unique_ptr<Module> module = c.make ? c.make() : nullptr;
    std::set<std::string> unset = golden().keys(prefix + "param.");
    unset.merge(golden().keys(prefix + "buffer."));
    if (module) {
        for_each_parameter(*module, [&](const std::string& path, Parameter& p) {
            p.value = golden()[prefix + "param." + path].clone();
            unset.erase(path);
        });
        for_each_buffer(*module, [&](const std::string& path, Tensor& buffer) {
            buffer = golden()[prefix + "buffer." + path].clone();
            unset.erase(path);
        });
    }
    EXPECT_TRUE(unset.empty()) << *unset.begin() << " is PyTorch's but not slimgrad's";

    TapeOptions options;
    options.training = c.training;
    Tape tape(options);
    std::vector<Var> inputs;
    for (int i = 0; golden().has(fmt::format("{}in.{}", prefix, i)); ++i)
        inputs.push_back(tape.input(golden()[fmt::format("{}in.{}", prefix, i)].clone()));
    const Var y = c.apply(module.get(), inputs);
    expect("y", y.value());
    tape.backward(y, golden()[prefix + "gy"]);
    for (std::size_t i = 0; i < inputs.size(); ++i)
        if (const std::string key = fmt::format("grad.in.{}", i); golden().has(prefix + key))
            expect(key, tape.gradient(inputs[i]));
    if (!module) return;
    for_each_parameter(*module, [&](const std::string& path, Parameter& p) {
        expect("grad.param." + path, p.grad.dense());
    });
    for_each_buffer(
        *module, [&](const std::string& path, Tensor& buffer) { expect("after." + path, buffer); });
}

INSTANTIATE_TEST_SUITE_P(Golden, Layers, ::testing::ValuesIn(all_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(GoldenLayersFile, EveryCaseIsTested) {
    std::set<std::string> untested = golden().cases();
    for (const LayerCase& c : all_cases()) untested.erase(c.name);
    EXPECT_TRUE(untested.empty()) << "first: " << *untested.begin();
}

}  // namespace
}  // namespace slimgrad
