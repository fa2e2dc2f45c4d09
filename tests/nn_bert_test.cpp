#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "nn/gradcheck.h"
#include "nn/losses.h"
#include "nn/models/bert.h"
#include "nn/models/bert_names.h"
#include "tensor/ops.h"
#include "tests/temporary.h"

namespace slimgrad {
namespace {

BertConfig small(const std::string& kind) {
    BertConfig config = bert_preset(kind == "bert" ? "bert-tiny" : "distilbert");
    config.vocab_size = 11;
    config.hidden_size = 6;
    config.num_hidden_layers = 3;
    config.num_attention_heads = 2;
    config.intermediate_size = 10;
    config.max_position_embeddings = 5;
    config.classes = 3;
    config.seed = 4;
    return config;
}

/// Two texts of 5 and of 3 tokens.
Tokens texts() {
    Tokens tokens{5, {2, 7, 8, 9, 3, 2, 5, 3, 0, 0}, {0, 0, 1, 1, 1, 0, 0, 0, 0, 0}, {}};
    tokens.key_padding = Tensor::zeros({2, 5});
    tokens.key_padding.data()[8] = tokens.key_padding.data()[9] = 1;
    return tokens;
}

std::int64_t parameter_count(Module& model) {
    std::int64_t count = 0;
    for (const Parameter* p : parameters(model)) count += p->value.numel();
    return count;
}

class BertModel : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Kinds, BertModel, testing::Values("bert", "distilbert"),
                         [](const auto& info) { return info.param; });

TEST_P(BertModel, GradientsWithDropoutAndPadding) {
    if (sizeof(real) == 4) GTEST_SKIP() << "finite differences want double";
    const auto model = make_text_model(small(GetParam()));
    for (Parameter* p : parameters(*model)) {  // larger than 0.02, so that every part matters
        Stream stream(1, "weights", static_cast<std::uint64_t>(p->value.numel()));
        for (real& value : p->value.values()) value += real(0.4) * stream.normal();
    }
    const Tokens tokens = texts();
    GradcheckOptions options;
    options.tape = {.training = true, .seed = 3};
    const auto f = [&](Tape& tape, const std::vector<Var>&) {
        return model->forward(tape, tokens);
    };
    EXPECT_NO_THROW(gradcheck(*model, f, {}, options));
}

TEST_P(BertModel, DropoutOnlyWhileTraining) {
    const auto model = make_text_model(small(GetParam()));
    const Tokens tokens = texts();
    const auto logits = [&](bool training, std::uint64_t step) {
        Tape tape({.training = training, .recording = false, .step = step});
        const Tensor y = model->forward(tape, tokens).value();
        // One after the embeddings, one before the classifier; in a block one for the
        // probabilities, one for each branch, but none for DistilBERT's attention.
        EXPECT_EQ(tape.next_draw(), !training ? 0 : GetParam() == "bert" ? 2 + 3 * 3 : 2 + 3 * 2);
        return std::vector<real>(y.values().begin(), y.values().end());
    };
    EXPECT_EQ(logits(false, 0), logits(false, 1));
    EXPECT_EQ(logits(true, 0), logits(true, 0));
    EXPECT_NE(logits(true, 0), logits(true, 1));
    EXPECT_NE(logits(true, 0), logits(false, 0));
}

TEST_P(BertModel, FrozenBlocksAndEmbeddingsSaveNothing) {
    const BertConfig config = small(GetParam());
    const auto model = make_text_model(config);
    select_train_blocks(*model, "last:1");
    const Tokens tokens = texts();
    Tape tape;
    const Var loss = cross_entropy(model->forward(tape, tokens), std::vector<std::int32_t>{2, 0});
    const auto saved = ledger().saved_by_layer();
    for (const auto& [layer, bytes] : saved) {
        EXPECT_FALSE(layer.starts_with("embeddings") || layer.starts_with("blocks.0") ||
                     layer.starts_with("blocks.1"))
            << layer << " saves " << bytes;
    }
    tape.backward(loss);
    for_each_parameter(*model, [&](const std::string& name, Parameter& p) {
        const bool trained = name.starts_with("blocks.2") || name.starts_with("pooler") ||
                             name.starts_with("classifier");
        EXPECT_EQ(p.grad.defined(), trained) << name;
    });
}

TEST_P(BertModel, InitialValuesAreBertsAndDependOnTheSeedAndTheNameAlone) {
    BertConfig config = small(GetParam());
    config.vocab_size = 2000;
    config.hidden_size = 20;
    const auto model = make_text_model(config);
    std::map<std::string, std::vector<real>> values;
    for_each_parameter(*model, [&](const std::string& name, Parameter& p) {
        const auto v = p.value.values();
        values[name] = {v.begin(), v.end()};
        const bool norm = name.find("norm") != std::string::npos && name.ends_with("weight");
        if (p.value.ndim() == 1) {
            for (const real value : v) ASSERT_EQ(value, norm ? 1 : 0) << name;
            return;
        }
        const double n = static_cast<double>(p.value.numel());
        const double deviation =
            std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0) / n);
        EXPECT_NEAR(deviation, 0.02, 0.02 * 4 / std::sqrt(2 * n) + 1e-5) << name;
        EXPECT_NEAR(sum(p.value) / n, 0, 0.02 * 4 / std::sqrt(n)) << name;
    });
    for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(values["embeddings.word.weight"][i], 0);
    EXPECT_NE(values["blocks.0.attention.q.weight"], values["blocks.0.attention.k.weight"]);
    EXPECT_NE(values["blocks.0.fc1.weight"], values["blocks.1.fc1.weight"]);

    config.num_hidden_layers = 1;
    for_each_parameter(*make_text_model(config), [&](const std::string& name, Parameter& p) {
        EXPECT_TRUE(std::ranges::equal(p.value.values(), values[name])) << name;
    });
    ++config.seed;
    for_each_parameter(*make_text_model(config), [&](const std::string& name, Parameter& p) {
        if (p.value.ndim() == 2) {
            EXPECT_FALSE(std::ranges::equal(p.value.values(), values[name])) << name;
        }
    });
}

TEST_P(BertModel, BadTextsAreOneClearLine) {
    const auto model = make_text_model(small(GetParam()));
    const auto run = [&](const auto& spoil) {
        Tokens tokens = texts();
        spoil(tokens);
        return [&model, tokens] {
            Tape tape;
            model->forward(tape, tokens);
        };
    };
    expect_error(run([](Tokens& t) { t.ids[7] = 11; }),
                 {"[embeddings.word] index 11 at position 7 is outside the table of 11 rows"});
    expect_error(run([](Tokens& t) { t.ids[0] = -1; }), {"[embeddings.word] index -1"});
    expect_error(run([](Tokens& t) {
                     t.length = 10;
                     t.key_padding = Tensor::zeros({1, 10});
                 }),
                 {"[" + GetParam() + "] expected texts of at most 5 tokens, got 10"});
    expect_error(run([](Tokens& t) { t.length = 3; }), {"texts of one length", "length 3, 10 ids"});
    expect_error(run([](Tokens& t) { t.length = 0; }), {"texts of one length"});
    expect_error(run([](Tokens& t) { t.types.pop_back(); }), {"10 ids and 9 types"});
    expect_error(run([](Tokens& t) { t = {}; }), {"texts of one length"});
    expect_error(run([](Tokens& t) {
                     t.key_padding = Tensor::zeros({5, 2});
                 }),
                 {"[blocks.0.attention] expected a key padding mask of shape (2, 5)"});
    if (GetParam() == "bert")
        expect_error(run([](Tokens& t) { t.types[3] = 2; }),
                     {"[embeddings.token_type] index 2 at position 3"});
    Tape tape;
    EXPECT_THROW(model->forward(tape.constant(Tensor::zeros({2, 5}))), Error);
}

TEST(BertNames, InCheckpointsAreBijective) {
    for (const char* kind : {"bert", "distilbert"}) {
        const BertConfig config = small(kind);
        std::set<std::string> theirs;
        std::size_t count = 0, names = 0;
        std::set<std::string> all;
        for_each_parameter(*make_text_model(config), [&](const std::string& name, Parameter&) {
            ++count;
            theirs.insert(hugging_face_name(config, name));
            const std::vector<std::string> known = checkpoint_names(config, name);
            EXPECT_EQ(known.front(), hugging_face_name(config, name));
            names += known.size();
            all.insert(known.begin(), known.end());
        });
        EXPECT_EQ(theirs.size(), count);
        EXPECT_EQ(all.size(), names) << "no name stands for two parameters";
        expect_error([&] { hugging_face_name(config, "blocks.0.fc3.weight"); },
                     {"no parameter is called 'blocks.0.fc3.weight'"});
        expect_error([&] { hugging_face_name(config, "blocks"); }, {"'blocks'"});
    }
    EXPECT_EQ(hugging_face_name(small("bert"), "blocks.2.attention.q.bias"),
              "bert.encoder.layer.2.attention.self.query.bias");
    EXPECT_EQ(hugging_face_name(small("distilbert"), "pooler.weight"), "pre_classifier.weight");
}

// Hugging Face's counts for the published models with two classes.
TEST_P(BertModel, ShapesAreKnownWithoutAModel) {
    const auto model = make_text_model(small(GetParam()));
    std::vector<std::pair<std::string, Shape>> made, said;
    for_each_parameter(*model, [&](const std::string& name, Parameter& parameter) {
        made.emplace_back(name, parameter.value.shape());
    });
    for_each_shape(small(GetParam()), [&](const std::string& name, const Shape& shape) {
        said.emplace_back(name, shape);
    });
    std::ranges::sort(made);
    std::ranges::sort(said);
    EXPECT_EQ(said, made);
}

TEST_P(BertModel, ActivationsOfOtherNamesAreTheTwoFormsOfGelu) {
    const auto logits = [&](const std::string& activation) {
        BertConfig config = small(GetParam());
        config.activation = activation;
        const auto model = make_text_model(config);
        for (Parameter* p : parameters(*model))  // large enough that the forms differ
            for (real& value : p->value.values()) value *= 20;
        Tape tape({.training = false, .recording = false});
        const Tensor y = model->forward(tape, texts()).value();
        return std::vector<real>(y.values().begin(), y.values().end());
    };
    const auto exact = logits("gelu"), approximate = logits("gelu_new");
    EXPECT_NE(exact, approximate);
    for (std::size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(exact[i], approximate[i], 0.1);
    EXPECT_EQ(logits("gelu_python"), exact);
    for (const char* name : {"gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"})
        EXPECT_EQ(logits(name), approximate) << name;
}

TEST(BertPresets, HaveThePublishedSizes) {
    EXPECT_EQ(parameter_count(*make_text_model(bert_preset("bert-tiny"))), 4'386'178);
    const auto without_words = [](const std::string& name) {
        BertConfig config = bert_preset(name);
        const std::int64_t words = config.vocab_size * config.hidden_size;
        config.vocab_size = 1;
        return parameter_count(*make_text_model(config)) - config.hidden_size + words;
    };
    EXPECT_EQ(without_words("minilm-l6"), 22'713'216 + 2 * 384 + 2);
    EXPECT_EQ(without_words("bert-small"), 28'763'648 + 2 * 512 + 2);
    EXPECT_EQ(without_words("distilbert"), 66'955'010);
    expect_error([] { bert_preset("bert-huge"); },
                 {"unknown model 'bert-huge'; known: bert-base, distilbert, minilm-l6, bert-small, "
                  "bert-tiny"});
}

TEST(BertConfig, WhatDoesNotFitIsAnError) {
    const auto make = [](const auto& spoil) {
        BertConfig config = small("bert");
        spoil(config);
        return [config] { make_text_model(config); };
    };
    expect_error(make([](BertConfig& c) { c.num_attention_heads = 4; }),
                 {"[bert]: the number of heads must divide the width 6, got 4"});
    expect_error(make([](BertConfig& c) { c.kind = "gpt"; }), {"'gpt'; known: bert, distilbert"});
    expect_error(make([](BertConfig& c) { c.hidden_size = 0; }), {"hidden_size from 1"});
    expect_error(make([](BertConfig& c) { c.vocab_size = std::int64_t{1} << 40; }),
                 {"vocab_size from 1 to 16777216"});
    expect_error(make([](BertConfig& c) { c.type_vocab_size = 0; }), {"type_vocab_size"});
    expect_error(make([](BertConfig& c) { c.classes = 0; }), {"number of classes"});
    expect_error(make([](BertConfig& c) { c.attention_dropout = 1; }), {"attention dropout"});
    expect_error(make([](BertConfig& c) { c.hidden_dropout = std::nan(""); }), {"hidden dropout"});
    expect_error(make([](BertConfig& c) { c.layer_norm_eps = 0; }), {"layer_norm_eps"});
    expect_error(make([](BertConfig& c) { c.pad_token_id = 11; }), {"pad_token_id from 0 to 10"});
}

}  // namespace
}  // namespace slimgrad
