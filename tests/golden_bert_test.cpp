#include <gtest/gtest.h>

#include "golden/golden.h"
#include "nn/losses.h"
#include "nn/models/bert_names.h"
#include "nn/models/text_model.h"
#include "tests/places.h"

// BERT and DistilBERT against Hugging Face's transformers in float64 (tests/golden/bert/make.py):
// tiny random checkpoints, a batch with padding, hidden states, logits, loss and all gradients.

namespace slimgrad {
namespace {

constexpr double tolerance = sizeof(real) == 8 ? 1e-12 : 1e-5;

BertConfig config_of(const std::string& kind) {
    BertConfig config;
    const bool bert = kind == "bert";
    config.kind = kind;
    config.vocab_size = 25;
    config.hidden_size = bert ? 12 : 8;
    config.num_hidden_layers = 2;
    config.num_attention_heads = bert ? 3 : 2;
    config.intermediate_size = bert ? 20 : 12;
    config.max_position_embeddings = 14;
    config.hidden_dropout = 0.25;  // on in training only
    config.classes = 3;
    return config;
}

std::vector<std::int32_t> integers(const Tensor& t) {
    return {t.values().begin(), t.values().end()};
}

class GoldenBert : public testing::TestWithParam<std::string> {
  protected:
    GoldenBert()
        : config(config_of(GetParam())),
          golden("bert/" + GetParam()),
          checkpoint(SafeTensors::open(tests_directory() / "golden" / "bert" / GetParam() /
                                       "model.safetensors")),
          model(make_text_model(config)) {
        std::vector<NamedTensor> targets;
        for_each_parameter(*model, [&](const std::string& name, Parameter& parameter) {
            targets.push_back({hugging_face_name(config, name), parameter.value});
        });
        load_tensors(checkpoint, targets);  // throws if a name is missing or left over
        tokens.length = golden["ids"].size(1);
        tokens.ids = integers(golden["ids"]);
        tokens.types = integers(golden["types"]);
        tokens.key_padding = golden["padding"];
    }

    BertConfig config;
    GoldenFile golden;
    SafeTensors checkpoint;
    std::unique_ptr<TextModel> model;
    Tokens tokens;
};

TEST_P(GoldenBert, HiddenStates) {
    Tape tape({.training = false});
    const std::vector<Var> states = model->hidden_states(tape, tokens);
    ASSERT_EQ(states.size(), 3u);
    for (std::size_t i = 0; i < states.size(); ++i)
        expect_close(fmt::format("hidden state {}", i), states[i].value(),
                     golden[fmt::format("hidden.{}", i)], tolerance);
}

TEST_P(GoldenBert, LogitsLossAndEveryGradient) {
    Tape tape({.training = false});
    const Var logits = model->forward(tape, tokens);
    const Var loss = cross_entropy(logits, integers(golden["labels"]));
    tape.backward(loss);
    expect_close("logits", logits.value(), golden["logits"], tolerance);
    expect_close("loss", loss.value(), golden["loss"], tolerance);
    std::set<std::string> left = golden.keys("grad/");
    for_each_parameter(*model, [&](const std::string& name, Parameter& parameter) {
        const std::string theirs = hugging_face_name(config, name);
        expect_close(name, parameter.grad.dense(), golden["grad/" + theirs], tolerance);
        left.erase(theirs);
    });
    EXPECT_TRUE(left.empty()) << *left.begin();
}

TEST_P(GoldenBert, PaddingHasNoInfluence) {
    Tape tape({.training = false, .recording = false});
    const Tensor expected = model->forward(tape, tokens).value().clone();
    for (std::size_t i = 0; i < tokens.ids.size(); ++i)
        if (tokens.key_padding.data()[i] != 0) tokens.ids[i] = 7;
    expect_close("logits", model->forward(tape, tokens).value(), expected, 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, GoldenBert, testing::Values("bert", "distilbert"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace slimgrad
