// Whole models in every mode: the meter and the ledger against the closed forms.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

#include "instant/calibrator.h"
#include "instant/cost_model.h"
#include "nn/losses.h"
#include "nn/models/model.h"
#include "tensor/meter.h"
#include "tensor/random.h"

namespace slimgrad {
namespace {

constexpr std::int64_t batch = 3;

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
