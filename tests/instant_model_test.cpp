// Whole models in every mode: the meter and the ledger against the closed forms.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

#include "instant/calibration/calibrator.h"
#include "instant/cost/cost_model.h"
#include "instant/methods/patch_rule.h"
#include "nn/attention.h"
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
            options.side = to_string(side);
            options.rank_x = options.rank_g = rank;
            options.batch = batch;
            all.push_back(options);
            if (method == "vanilla") continue;
            // Some slots are compressed to this rank, and some left exact.
            options.rank_x = options.rank_g = 10;
            options.break_even = "vanilla";
            all.push_back(options);
        }
    return all;
}

std::string describe(const MethodOptions& options) {
    return options.method + ", side " + options.side + ", break-even " + options.break_even;
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
        const ModelCost expected =
            model_cost(shapes, compressions_of(shapes, options), batch, Convention::executed);
        const std::vector<LayerRanks> ranks = calibrator.ranks();

        meter().reset();
        Tape tape(tape_options(options));
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
            if (sizeof(real) == 4 || !row.compression.codec) {  // codes are as long in double
                EXPECT_EQ(saved[name] * 4,
                          row.cost.saved_bytes * static_cast<std::int64_t>(sizeof(real)))
                    << name << ", " << describe(options);
            }
            const auto found = std::ranges::find(ranks, name, &LayerRanks::name);
            ASSERT_NE(found, ranks.end()) << name;
            if (found->x) {
                EXPECT_EQ(found->x->break_even, row.break_even_x) << name;
            }
            if (found->g) {
                EXPECT_EQ(found->g->break_even, row.break_even_g) << name;
            }
            const Slots calibrated = find_method(options.method).calibrated;
            if (row.break_even_x && calibrated.x) {
                EXPECT_EQ(found->rank_x, row.compression.rank_x) << name;
            }
            if (row.break_even_g && calibrated.g) {
                EXPECT_EQ(found->rank_g, row.compression.rank_g) << name;
            }
        }
        EXPECT_EQ(meter().phase("g_w"), expected.total.g_w) << "no other layer makes a g_w";
        EXPECT_EQ(ledger()[Category::saved].live, 0) << "nothing is saved after backward";
        zero_grad(*model);
    }
}

/// A block as in BERT: Q, K and V are maps of their own and multiply one x.
struct EncoderStack final : Module {
    EncoderStack() { name_modules(*this); }
    Var forward(const Var& x) override {
        return fc2.forward(fc1.forward(attention.forward(below.forward(x))));
    }
    void visit(Visitor& visitor) override {
        visitor.module("below", below);
        visitor.module("attention", attention);
        visitor.module("fc1", fc1);
        visitor.module("fc2", fc2);
    }
    std::string kind() const override { return "encoder_stack"; }

    Stream stream{1, "stack"};
    Linear below{12, 12, stream};
    MultiHeadAttention attention{12, 3, stream, {.fused_qkv = false}};
    Linear fc1{12, 20, stream}, fc2{20, 12, stream};
};

TEST(SharedInput, QueriesKeysAndValuesKeepOneProjectedInputAndUseOneProjector) {
    for (const bool below_trains : {true, false})
        for (MethodOptions options : every_mode_and_side(2)) {
            options.own.set("[test]", grid_option(), "4x5");
            EncoderStack model;
            set_requires_grad(model.below, below_trains);
            Stream stream(2, "x");
            const Tensor x = normal({batch, 20, 12}, 0, 1, stream);
            const Tensor gy = normal({batch, 20, 12}, 0, 1, stream);
            const auto forward = [&](Tape& tape) { return model.forward(tape.constant(x)); };
            const std::vector<LinearShape> shapes = trace_linear_maps(model, [&] {
                Tape tape;
                forward(tape);
            });
            Calibrator calibrator(model, options);
            calibrator.calibrate([&] {
                Tape tape;
                tape.backward(forward(tape), gy);
            });
            const ModelCost expected =
                model_cost(shapes, compressions_of(shapes, options), batch, Convention::executed);
            meter().reset();
            Tape tape(tape_options(options));
            const Var y = forward(tape);
            std::map<std::string, std::int64_t> saved = ledger().saved_by_layer();
            tape.backward(y, gy);
            for (const ModelCost::Row& row : expected.rows) {
                const std::string what = row.layer.name + ", " + describe(options);
                EXPECT_EQ(meter().count(row.layer.name, "compress"), row.cost.compress) << what;
                EXPECT_EQ(meter().count(row.layer.name, "g_w"), row.cost.g_w) << what;
                EXPECT_EQ(meter().count(row.layer.name, "g_x"), row.cost.g_x) << what;
                if (sizeof(real) == 4 || !row.compression.codec) {
                    EXPECT_EQ(saved[row.layer.name] * 4,
                              row.cost.saved_bytes * static_cast<std::int64_t>(sizeof(real)))
                        << what;
                }
            }
            // The ledger shows one x̂ under Q, and none under K and V.
            EXPECT_GT(saved["attention.q"], 0);
            EXPECT_EQ(saved["attention.k"], 0);
            EXPECT_EQ(saved["attention.v"], 0);
            const auto p = [&](const char* name) {
                for (LinearMap* layer : linear_maps(model))
                    if (layer->path() == name)
                        if (auto* rule = dynamic_cast<const LowRankRule*>(layer->rule().get()))
                            return rule->p().get();
                return static_cast<const Projector*>(nullptr);
            };
            EXPECT_EQ(p("attention.q"), p("attention.k"));
            EXPECT_EQ(p("attention.q"), p("attention.v"));
        }
}

INSTANTIATE_TEST_SUITE_P(
    Models, CompressedModel,
    testing::Values(ModelCase{"vit-micro", 1, 16, "all"}, ModelCase{"vit-micro", 3, 16, "last:1"},
                    ModelCase{"mlp", 1, 8, "all"}, ModelCase{"resnet20", 3, 16, "all"},
                    ModelCase{"resnet20", 3, 16, "last:2"}),
    [](const auto& info) {
        std::string name = std::string(info.param.name) + "_" + info.param.train_blocks;
        std::ranges::replace_if(
            name, [](char c) { return !std::isalnum(c); }, '_');
        return name;
    });

}  // namespace
}  // namespace slimgrad
