// BERT in every mode: the meter and the ledger of real steps against the closed forms.
#include <gtest/gtest.h>

#include <algorithm>

#include "instant/calibration/calibrator.h"
#include "instant/cost/architectures.h"
#include "instant/cost/cost_model.h"
#include "instant/methods/patch_rule.h"
#include "nn/losses.h"
#include "nn/models/text_model.h"
#include "tensor/meter.h"

namespace slimgrad {
namespace {

Tokens texts(std::int64_t batch, std::int64_t length, std::int64_t vocabulary) {
    Stream stream(5, "texts");
    Tokens tokens{length, {}, {}, Tensor::zeros({batch, length})};
    for (std::int64_t i = 0; i < batch * length; ++i) {
        tokens.ids.push_back(
            static_cast<std::int32_t>(stream.below(static_cast<std::uint32_t>(vocabulary))));
        tokens.types.push_back(i % length > length / 2);
        tokens.key_padding.data()[i] = i % length > length - 1 - i / length;
    }
    return tokens;
}

MethodOptions fixed_ranks(const std::string& method, std::int64_t rank, std::int64_t batch,
                          std::optional<Side> side = Side::token) {
    MethodOptions options;
    options.method = method;
    options.side = to_string(side);
    options.rank_x = options.rank_g = rank;
    options.batch = batch;
    options.own.set("[test]", grid_option(), "4x4");  // of 16 tokens
    return options;
}

/// What a model keeps for backward, by layer, after a forward pass; then backward runs.
std::map<std::string, std::int64_t> step(TextModel& model, const Tokens& tokens,
                                         const TapeOptions& options = {}) {
    std::vector<std::int32_t> labels(static_cast<std::size_t>(tokens.shape()[0]));
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i % 2);
    Tape tape(options);
    const Var loss = cross_entropy(model.forward(tape, tokens), labels);
    std::map<std::string, std::int64_t> saved = ledger().saved_by_layer();
    tape.backward(loss);
    return saved;
}

/// Runs a step of a calibrated model and compares each linear map with its closed form.
void expect_costs(TextModel& model, const Tokens& tokens, const std::vector<LinearShape>& shapes,
                  const MethodOptions& options) {
    Calibrator calibrator(model, options);
    calibrator.calibrate([&] { step(model, tokens); });
    const ModelCost expected = model_cost(shapes, compressions_of(shapes, options),
                                          tokens.shape()[0], Convention::executed);
    meter().reset();
    std::map<std::string, std::int64_t> saved = step(model, tokens, tape_options(options));
    ASSERT_FALSE(expected.rows.empty());
    for (const ModelCost::Row& row : expected.rows) {
        const std::string& name = row.layer.name;
        EXPECT_EQ(meter().count(name, "forward"), row.cost.forward) << name;
        EXPECT_EQ(meter().count(name, "compress"), row.cost.compress) << name << options.method;
        EXPECT_EQ(meter().count(name, "g_w"), row.cost.g_w) << name << options.method;
        EXPECT_EQ(meter().count(name, "g_x"), row.cost.g_x) << name << options.method;
        if (sizeof(real) == 4 || !row.compression.codec) {  // codes are as long in double
            EXPECT_EQ(saved[name] * 4,
                      row.cost.saved_bytes * static_cast<std::int64_t>(sizeof(real)))
                << name << options.method;
        }
    }
    EXPECT_EQ(ledger()[Category::saved].live, 0) << "nothing is saved after backward";
    zero_grad(model);
}

std::vector<LinearShape> traced(TextModel& model, const Tokens& tokens) {
    return trace_linear_maps(model, [&] {
        Tape tape;
        model.forward(tape, tokens);
    });
}

TEST(BertCost, EveryModeAndSideOfASmallModel) {
    for (const char* preset : {"bert-tiny", "distilbert"})
        for (const char* blocks : {"all", "last:1"}) {
            BertConfig config = bert_preset(preset);
            config.vocab_size = 20;
            config.hidden_size = 12;
            config.num_hidden_layers = 2;
            config.num_attention_heads = 3;
            config.intermediate_size = 20;
            config.max_position_embeddings = 16;
            const auto model = make_text_model(config);
            select_train_blocks(*model, blocks);
            const Tokens tokens = texts(3, 16, config.vocab_size);
            const std::vector<LinearShape> shapes = traced(*model, tokens);
            for (const std::string& method : method_names())
                for (const std::optional<Side> side :
                     {std::optional<Side>(Side::token), std::optional<Side>(Side::channel),
                      std::optional<Side>()})
                    expect_costs(*model, tokens, shapes, fixed_ranks(method, 2, 3, side));
        }
}

/// The linear maps of the architecture, and after them the two of the head.
void expect_architecture(const std::string& name, const std::string& blocks,
                         const std::vector<LinearShape>& found, std::int64_t tokens) {
    const std::vector<LinearShape> known = architecture(name, tokens, blocks);
    // Layers of frozen blocks are executed, and traced, but neither saved nor differentiated.
    std::vector<LinearShape> trained;
    std::ranges::copy_if(found, std::back_inserter(trained), &LinearShape::needs_gw);
    ASSERT_EQ(trained.size(), known.size() + 2);
    for (std::size_t i = 0; i < known.size(); ++i) {
        EXPECT_EQ(trained[i].name, known[i].name);
        EXPECT_EQ(trained[i].input_group, known[i].input_group) << known[i].name;
        EXPECT_EQ(trained[i].tokens, known[i].tokens) << known[i].name;
        EXPECT_EQ(trained[i].in_channels, known[i].in_channels) << known[i].name;
        EXPECT_EQ(trained[i].out_channels, known[i].out_channels) << known[i].name;
        EXPECT_EQ(trained[i].needs_gx, known[i].needs_gx) << known[i].name;
        EXPECT_EQ(trained[i].compressible, known[i].compressible) << known[i].name;
    }
    EXPECT_EQ(trained[known.size()].name, "pooler");
    EXPECT_EQ(trained[known.size() + 1].name, "classifier");
    EXPECT_FALSE(trained[known.size()].compressible);
    EXPECT_FALSE(trained[known.size() + 1].compressible);
}

// Bytes of everything that one trained block and the head keep of T tokens of width C; and those of
// the masks of dropout, a bit an element.
std::int64_t kept_by_last_block(const BertConfig& c, std::int64_t batch, std::int64_t length) {
    const std::int64_t t = batch * length, width = c.hidden_size, hidden = c.intermediate_size;
    const std::int64_t block = t * width                  // x of Q, K and V
                               + 3 * t * width            // Q, K and V
                               + t * width                // x of proj
                               + 2 * (t * width + 2 * t)  // x of both LayerNorms, their statistics
                               + t * width                // x of fc1
                               + 2 * t * hidden;          // x of GELU and of fc2
    const std::int64_t head = batch * 3 * width     // x of the pooler, y of tanh, classifier's x
                              + batch * c.classes;  // probabilities
    return static_cast<std::int64_t>(sizeof(real)) * (block + head);
}
std::int64_t dropout_bytes(const BertConfig& c, std::int64_t batch, std::int64_t length) {
    const auto mask = [](std::int64_t bits) { return (bits + 63) / 64 * 8; };
    const std::int64_t branch = batch * length * c.hidden_size;
    return mask(batch * c.num_attention_heads * length * length) + 2 * mask(branch) +
           mask(batch * c.hidden_size);
}

TEST(BertCost, AStepOfBertBaseEqualsTheExecutedConvention) {
    if (sizeof(real) == 8) GTEST_SKIP() << "110 million parameters are enough once, in float";
    constexpr std::int64_t batch = 2, length = 16;
    const BertConfig config = bert_preset("bert-base");
    const auto model = make_text_model(config);
    std::int64_t count = 0;
    for (const Parameter* p : parameters(*model)) count += p->value.numel();
    EXPECT_EQ(count, 109'483'778) << "as BertForSequenceClassification has";
    select_train_blocks(*model, "last:1");
    const Tokens tokens = texts(batch, length, config.vocab_size);
    expect_architecture("bert-base", "last:1", traced(*model, tokens), length);

    const std::vector<LinearShape> shapes = architecture("bert-base", length, "last:1");
    for (const std::string& method : method_names())
        expect_costs(*model, tokens, shapes, fixed_ranks(method, 4, batch));

    Calibrator calibrator(*model, fixed_ranks("vanilla", 4, batch));
    calibrator.calibrate([] {});
    meter().reset();
    std::int64_t kept = 0;
    for (const auto& [layer, bytes] : step(*model, tokens)) kept += bytes;
    const std::int64_t labels = batch * static_cast<std::int64_t>(sizeof(std::int32_t));
    EXPECT_EQ(kept, kept_by_last_block(config, batch, length) + labels +
                        dropout_bytes(config, batch, length));
    const std::int64_t head = 2 * batch * config.hidden_size * (config.hidden_size + 2);
    const ModelCost vanilla =
        model_cost(shapes, std::vector<Compression>(shapes.size()), batch, Convention::executed);
    EXPECT_EQ(meter().phase("g_w"), vanilla.total.g_w + head) << "no other layer makes a g_w";
}

TEST(BertCost, PresetsAreTheArchitecturesOfTheirNames) {
    for (const std::string& name : text_model_names()) {
        if (name == "bert-base") continue;  // above
        BertConfig config = bert_preset(name);
        config.vocab_size = 50;
        const auto model = make_text_model(config);
        const Tokens tokens = texts(1, 4, config.vocab_size);
        for (const char* blocks : {"all", "last:2"}) {
            select_train_blocks(*model, blocks);
            expect_architecture(name, blocks, traced(*model, tokens), 4);
        }
    }
}

}  // namespace
}  // namespace slimgrad
