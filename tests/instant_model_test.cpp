// Whole layers and models in every mode: the meter and the ledger against the closed forms, and the
// compressed gradients against their dense meaning.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "instant/calibrator.h"
#include "instant/cost_model.h"
#include "nn/conv2d.h"
#include "nn/losses.h"
#include "nn/models/model.h"
#include "tensor/ops.h"

namespace slimgrad {
namespace {

constexpr std::int64_t batch = 3;
constexpr double tolerance = sizeof(real) == 8 ? 1e-11 : 3e-4;

double relative_distance(const Tensor& a, const Tensor& b) {
    return std::sqrt(sum_squares(a - b) / (sum_squares(b) + 1e-30));
}

std::vector<MethodOptions> every_mode_and_side(std::int64_t rank) {
    std::vector<MethodOptions> all;
    for (const std::string& method : method_names())
        for (const std::optional<Side> side :
             {std::optional<Side>(Side::token), std::optional<Side>(Side::channel),
              std::optional<Side>()}) {
            MethodOptions options;
            options.method = method;
            options.side = side;
            options.rank_x = options.rank_g = rank;
            all.push_back(options);
        }
    return all;
}

std::string describe(const MethodOptions& options) {
    return options.method + ", side " + (options.side ? to_string(*options.side) : "auto");
}

// --- one convolution ----------------------------------------------------------------------------

struct ConvRun {
    Tensor gx, gw;
};

Shape output_shape(Conv2d& conv, const Tensor& x) {
    Tape tape({.recording = false});
    return conv.forward(tape.constant(x)).shape();
}

ConvRun run(Conv2d& conv, const Tensor& x, const Tensor& gy) {
    zero_grad(conv);
    Tape tape;
    const Var input = tape.input(x);
    tape.backward(conv.forward(input), gy);
    return {tape.gradient(input), conv.weight().grad.dense()};
}

struct ConvCase {
    Conv2dOptions options;
    const char* name;
};

const std::vector<ConvCase> conv_cases = {
    {{.kernel = 3, .padding = 1}, "3x3"},
    {{.kernel = {3, 2}, .stride = 2, .padding = {1, 0}, .dilation = {1, 2}}, "ragged"},
    {{.kernel = 1}, "1x1"},
};

TEST(CompressedConv2d, EqualsItsDenseMeaningInEveryModeAndSide) {
    for (const ConvCase& c : conv_cases)
        for (const MethodOptions& options : every_mode_and_side(4)) {
            Stream stream(5, "conv");
            Conv2d conv(4, 6, c.options, stream);
            const Tensor x = normal({batch, 4, 7, 6}, 0, 1, stream);
            const Tensor gy = normal(output_shape(conv, x), 0, 1, stream);
            Calibrator calibrator(conv, options);
            calibrator.calibrate([&] { run(conv, x, gy); });
            const ConvRun low = run(conv, x, gy);

            // The dense meaning: the exact backward of PᵀP x (for g_w) and of QᵀQ g (for g_x).
            const Window2d window = make_window("conv", 7, 6, c.options.kernel, c.options.stride,
                                                c.options.padding, c.options.dilation);
            const Tensor tokens = im2col(x, window);
            const Tensor g = transpose(gy.reshape({batch, 6, -1}), {0, 2, 1});
            const auto* rule = dynamic_cast<const LowRankRule*>(conv.rule().get());
            const auto dense = [](const std::shared_ptr<const Projector>& p, const Tensor& t) {
                if (!p) return t;
                const Tensor square = matmul(p->basis, p->basis, Op::transpose, Op::none);
                return p->side == Side::token ? matmul(square, t) : matmul(t, square);
            };
            const Tensor w = conv.weight().value.reshape({6, -1});
            const Tensor x_tilde = dense(rule ? rule->p() : nullptr, tokens);
            const Tensor g_tilde = dense(rule ? rule->q() : nullptr, g);
            EXPECT_EQ(rule != nullptr, options.method != "vanilla");
            EXPECT_LT(relative_distance(low.gw.reshape({6, -1}), matmul_sum(g, x_tilde)), tolerance)
                << c.name << ", " << describe(options);
            EXPECT_LT(relative_distance(low.gx, col2im(matmul(g_tilde, w), window)), tolerance)
                << c.name << ", " << describe(options);
        }
}

TEST(CompressedConv2d, MeterAndLedgerEqualTheClosedForms) {
    for (const ConvCase& c : conv_cases)
        for (const MethodOptions& options : every_mode_and_side(4)) {
            Stream stream(5, "conv");
            Conv2d conv(4, 6, c.options, stream);
            const Tensor x = normal({batch, 4, 7, 6}, 0, 1, stream);
            const std::vector<LinearShape> shapes = trace_linear_maps(conv, [&] {
                Tape tape;
                conv.forward(tape.input(x));
            });
            ASSERT_EQ(shapes.size(), 1u);
            EXPECT_EQ(shapes[0].held_elements, 4 * 7 * 6);
            const Tensor gy = Tensor::full(output_shape(conv, x), 1);
            Calibrator calibrator(conv, options);
            calibrator.calibrate([&] { run(conv, x, gy); });

            meter().reset();
            Tape tape;
            const Var y = conv.forward(tape.input(x));
            const std::int64_t saved = ledger()[Category::saved].live;
            tape.backward(y, gy);
            const LinearCost expected = linear_cost(shapes[0], compression_of(shapes[0], options),
                                                    batch, Convention::executed);
            EXPECT_EQ(meter().phase("forward"), expected.forward) << c.name;
            EXPECT_EQ(meter().phase("compress"), expected.compress) << c.name;
            EXPECT_EQ(meter().phase("g_w"), expected.g_w) << c.name << ", " << describe(options);
            EXPECT_EQ(meter().phase("g_x"), expected.g_x) << c.name << ", " << describe(options);
            EXPECT_EQ(saved * 4, expected.saved_bytes * static_cast<std::int64_t>(sizeof(real)))
                << c.name << ", " << describe(options);
            EXPECT_EQ(ledger()[Category::saved].live, 0);
        }
}

TEST(CompressedConv2d, FullRankIsVanilla) {
    for (const ConvCase& c : conv_cases)
        for (const Side side : {Side::token, Side::channel}) {
            Stream stream(5, "conv");
            Conv2d conv(4, 6, c.options, stream);
            const Tensor x = normal({batch, 4, 7, 6}, 0, 1, stream);
            const Tensor gy = normal(output_shape(conv, x), 0, 1, stream);
            const ConvRun exact = run(conv, x, gy);
            MethodOptions options;
            options.method = "instant";
            options.side = side;
            options.epsilon = 1;
            Calibrator calibrator(conv, options);
            calibrator.calibrate([&] { run(conv, x, gy); });
            const ConvRun low = run(conv, x, gy);
            EXPECT_LT(relative_distance(low.gw, exact.gw), tolerance) << c.name;
            EXPECT_LT(relative_distance(low.gx, exact.gx), tolerance) << c.name;
        }
}

// --- whole models -------------------------------------------------------------------------------

struct ModelCase {
    const char* name;
    std::int64_t channels, side;
    const char* train_blocks;
};

class CompressedModel : public testing::TestWithParam<ModelCase> {};

TEST_P(CompressedModel, MeterAndLedgerEqualTheExecutedConvention) {
    const ModelCase& c = GetParam();
    ModelConfig config;
    config.channels = c.channels;
    config.height = config.width = c.side;
    const std::unique_ptr<Module> model = make_model(c.name, config);
    select_train_blocks(*model, c.train_blocks);
    Stream stream(1, "images");
    const Tensor x = normal({batch, c.channels, c.side, c.side}, 0, 1, stream);
    const std::vector<std::int32_t> labels = {1, 0, 2};
    const auto forward = [&](Tape& tape) {
        return cross_entropy(model->forward(tape.constant(x)), labels);
    };
    const std::vector<LinearShape> shapes = trace_linear_maps(*model, [&] {
        Tape tape;
        forward(tape);
    });
    for (const MethodOptions& options : every_mode_and_side(2)) {
        Calibrator calibrator(*model, options);
        calibrator.calibrate([&] {
            Tape tape;
            tape.backward(forward(tape));
        });
        std::vector<Compression> compressions;
        for (const LinearShape& shape : shapes)
            compressions.push_back(compression_of(shape, options));
        const ModelCost expected = model_cost(shapes, compressions, batch, Convention::executed);

        meter().reset();
        Tape tape;
        const Var loss = forward(tape);
        std::map<std::string, std::int64_t> saved = ledger().saved_by_layer();
        tape.backward(loss);
        ASSERT_FALSE(expected.rows.empty());
        for (const ModelCost::Row& row : expected.rows) {
            const std::string& name = row.layer.name;
            EXPECT_EQ(meter().count(name, "forward"), row.cost.forward) << name;
            EXPECT_EQ(meter().count(name, "compress"), row.cost.compress) << name;
            EXPECT_EQ(meter().count(name, "g_w"), row.cost.g_w) << name << describe(options);
            EXPECT_EQ(meter().count(name, "g_x"), row.cost.g_x) << name << describe(options);
            EXPECT_EQ(saved[name] * 4,
                      row.cost.saved_bytes * static_cast<std::int64_t>(sizeof(real)))
                << name << ", " << describe(options);
        }
        EXPECT_EQ(meter().phase("g_w"), expected.total.g_w) << "no other layer makes a g_w";
        EXPECT_EQ(ledger()[Category::saved].live, 0) << "nothing is saved after backward";
        zero_grad(*model);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Models, CompressedModel,
    testing::Values(ModelCase{"vit-micro", 1, 16, "all"}, ModelCase{"vit-micro", 3, 16, "last:1"},
                    ModelCase{"mlp", 1, 8, "all"}, ModelCase{"resnet20", 3, 8, "all"},
                    ModelCase{"resnet20", 3, 16, "last:2"}),
    [](const auto& info) {
        std::string name = std::string(info.param.name) + "_" + info.param.train_blocks;
        std::ranges::replace_if(
            name, [](char c) { return !std::isalnum(c); }, '_');
        return name;
    });

}  // namespace
}  // namespace slimgrad
