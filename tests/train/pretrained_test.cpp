// Checkpoint directories in Hugging Face's layout: what is read, what is reported, what is refused.
#include "train/pretrained.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "data/safetensors.h"
#include "nn/models/bert_names.h"
#include "tests/golden/golden.h"
#include "tests/places.h"
#include "tests/temporary.h"
#include "train/weights.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;

fs::path golden(const std::string& kind) { return tests_directory() / "golden" / "bert" / kind; }

std::vector<real> all_values(Module& model) {
    std::vector<real> all;
    for (const Parameter* p : parameters(model))
        all.insert(all.end(), p->value.values().begin(), p->value.values().end());
    return all;
}

/// A copy of a golden checkpoint that a test may spoil.
class Pretraining : public testing::TestWithParam<std::string> {
  protected:
    Pretraining() { copy(GetParam()); }
    void copy(const std::string& kind) {
        fs::copy(golden(kind), root / "model", fs::copy_options::recursive);
        directory = root / "model";
    }
    /// Writes the tensors again, each under the name that `rename` gives, "" for none.
    void rewrite(const std::function<std::string(const std::string&)>& rename,
                 const std::vector<NamedTensor>& more = {}) const {
        std::vector<NamedTensor> tensors = more;
        const SafeTensors old = SafeTensors::open(golden(GetParam()) / "model.safetensors");
        for (const std::string& name : old.names())
            if (const std::string now = rename(name); !now.empty())
                tensors.push_back({now, old.tensor(name)});
        write_safetensors(directory / "model.safetensors", tensors);
    }
    /// The configuration with a key set to another value, or removed.
    void configure(const std::string& key, const std::string& value) const {
        auto config = nlohmann::json::parse(get(golden(GetParam()) / "config.json"));
        if (value.empty())
            config.erase(key);
        else
            config[key] = nlohmann::json::parse(value);
        put(directory / "config.json", config.dump());
    }
    std::unique_ptr<TextModel> fresh() const {
        return make_text_model(open_pretrained(directory).config);
    }
    /// The key of this kind of model.
    std::string key(const char* bert, const char* distilbert) const {
        return GetParam() == "bert" ? bert : distilbert;
    }

    TemporaryDirectory root;
    fs::path directory;
};

TEST_P(Pretraining, ReadsWhatTransformersWrote) {
    const Pretrained opened = open_pretrained(directory);
    const BertConfig& c = opened.config;
    const bool bert = GetParam() == "bert";
    EXPECT_EQ(c.kind, GetParam());
    EXPECT_EQ(c.vocab_size, 25);
    EXPECT_EQ(c.hidden_size, bert ? 12 : 8);
    EXPECT_EQ(c.num_hidden_layers, 2);
    EXPECT_EQ(c.num_attention_heads, bert ? 3 : 2);
    EXPECT_EQ(c.intermediate_size, bert ? 20 : 12);
    EXPECT_EQ(c.max_position_embeddings, 14);
    EXPECT_EQ(c.layer_norm_eps, 1e-12);
    EXPECT_EQ(c.hidden_dropout, 0.25);
    EXPECT_EQ(c.attention_dropout, 0.125);
    EXPECT_EQ(c.classifier_dropout, 0.5);
    EXPECT_EQ(c.classes, 3);
    EXPECT_EQ(opened.tokenizer.vocabulary().size(), 25);

    const auto model = make_text_model(c);
    const LoadReport report = load_pretrained(directory, *model);
    EXPECT_EQ(to_string(report), "every tensor found its place");
    const SafeTensors file = SafeTensors::open(directory / "model.safetensors");
    for_each_parameter(*model, [&](const std::string& name, Parameter& p) {
        EXPECT_TRUE(
            std::ranges::equal(p.value.values(), file.tensor(hugging_face_name(c, name)).values()))
            << name;
    });
}

TEST_P(Pretraining, KnowsTheNamesOfAllLayouts) {
    const auto expected = fresh();
    load_pretrained(directory, *expected);
    const std::string prefix = GetParam() + ".";
    const auto bare = [&](const std::string& name) {
        return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
    };
    const auto old = [](std::string name) {  // of the first checkpoints, from TensorFlow
        for (const auto& [now, then] : {std::pair("LayerNorm.weight", "LayerNorm.gamma"),
                                        std::pair("LayerNorm.bias", "LayerNorm.beta"),
                                        std::pair("layer_norm.weight", "layer_norm.gamma")})
            if (name.ends_with(now))
                name.replace(name.size() - std::string(now).size(), std::string::npos, then);
        return name;
    };
    for (const bool without_prefix : {false, true})
        for (const bool with_old : {false, true}) {
            rewrite([&](const std::string& name) {
                const std::string now = without_prefix ? bare(name) : name;
                return with_old ? old(now) : now;
            });
            const auto model = fresh();
            EXPECT_EQ(to_string(load_pretrained(directory, *model)),
                      "every tensor found its place");
            EXPECT_EQ(all_values(*model), all_values(*expected));
        }
    save_weights(directory / "model.safetensors", *expected);  // slimgrad's own names
    const auto model = fresh();
    EXPECT_EQ(to_string(load_pretrained(directory, *model)), "every tensor found its place");
    EXPECT_EQ(all_values(*model), all_values(*expected));
    const auto again = fresh();
    load_weights(directory / "model.safetensors", *again);
    EXPECT_EQ(all_values(*again), all_values(*expected));
}

TEST_P(Pretraining, ReadsAFolderOfSentenceTransformers) {
    fs::rename(directory, root / "0_Transformer");
    put(root / "modules.json", "[]");
    const auto model = make_text_model(open_pretrained(root.path()).config);
    EXPECT_EQ(to_string(load_pretrained(root.path(), *model)), "every tensor found its place");
}

TEST_P(Pretraining, ReportsAFreshHeadAndWhatHasNoUse) {
    const std::string pooler = GetParam() == "bert" ? "bert.pooler." : "pre_classifier.";
    rewrite(
        [&](const std::string& name) {
            return name.starts_with("classifier.") || name.starts_with(pooler) ? "" : name;
        },
        {{"cls.predictions.bias", Tensor::zeros({25})},
         {"embeddings.position_ids", Tensor::zeros({1, 14})}});
    const auto model = fresh();
    const std::vector<real> before = all_values(*model);
    const LoadReport report = load_pretrained(directory, *model);
    EXPECT_EQ(report.missing, (std::vector<std::string>{"pooler.weight", "pooler.bias",
                                                        "classifier.weight", "classifier.bias"}));
    EXPECT_EQ(report.fresh, report.missing);
    EXPECT_EQ(report.unused,
              (std::vector<std::string>{"cls.predictions.bias", "embeddings.position_ids"}));
    EXPECT_EQ(to_string(report),
              "fresh: pooler.weight, pooler.bias, classifier.weight, classifier.bias; unused: "
              "cls.predictions.bias, embeddings.position_ids");
    const std::vector<real> after = all_values(*model);
    const std::ptrdiff_t head = model->config().hidden_size * (model->config().hidden_size + 4) + 3;
    EXPECT_TRUE(std::equal(before.end() - head, before.end(), after.end() - head));
    EXPECT_FALSE(std::equal(before.begin(), before.end() - head, after.begin()));
}

TEST_P(Pretraining, AClassifierForOtherClassesStaysFreshAndIsReported) {
    BertConfig config = open_pretrained(directory).config;
    config.classes = 2;
    const auto model = make_text_model(config);
    const LoadReport report = load_pretrained(directory, *model);
    const std::string width = std::to_string(config.hidden_size);
    EXPECT_EQ(report.misshapen, (std::vector<std::string>{"classifier.weight (3, " + width +
                                                              "), expected (2, " + width + ")",
                                                          "classifier.bias (3,), expected (2,)"}));
    EXPECT_EQ(report.missing, std::vector<std::string>());
    EXPECT_EQ(report.fresh, (std::vector<std::string>{"classifier.weight", "classifier.bias"}));
    EXPECT_EQ(report.unused, (std::vector<std::string>{"classifier.bias", "classifier.weight"}));
    EXPECT_EQ(to_string(report), "fresh, since of another shape: " + report.misshapen[0] + ", " +
                                     report.misshapen[1] +
                                     "; unused: classifier.bias, classifier.weight");
}

TEST_P(Pretraining, BadWeightsAreOneClearLineAndChangeNothing) {
    const auto model = fresh();
    const std::vector<real> before = all_values(*model);
    const auto load = [&] { load_pretrained(directory, *model); };
    const std::string position = GetParam() + ".embeddings.position_embeddings.weight";
    rewrite([&](const std::string& name) { return name == position ? "" : name; });
    expect_error(load, {"model.safetensors' does not fit " + GetParam(), "missing: " + position});
    rewrite([&](const std::string& name) { return name == position ? "" : name; },
            {{position, Tensor::zeros({14, 7})}});
    expect_error(load, {"of another shape: " + position + " (14, 7), expected (14, "});
    rewrite([&](const std::string&) { return std::string(); }, {{"other", Tensor::zeros({1})}});
    expect_error(load, {"missing: ", " more"});
    // A block more than config.json speaks of: without it the model would be another one.
    for (const std::string& prefix : {GetParam() + ".", std::string()}) {
        const std::string extra = prefix + (GetParam() == "bert" ? "encoder" : "transformer") +
                                  ".layer.7.attention.weight";
        rewrite([](const std::string& name) { return name; }, {{extra, Tensor::zeros({3})}});
        expect_error(load, {"does not fit " + GetParam(), "unexpected: " + extra});
    }
    Tensor spoilt = Tensor::zeros({14, model->config().hidden_size});
    spoilt.data()[3] = std::numeric_limits<real>::quiet_NaN();
    rewrite([&](const std::string& name) { return name == position ? "" : name; },
            {{position, spoilt}});
    expect_error(load, {position + " holds a value that is not finite: nan at index (0, 3)"});

    const std::string whole = get(golden(GetParam()) / "model.safetensors");
    put(directory / "model.safetensors", std::string_view(whole).substr(0, whole.size() - 5));
    expect_error(load, {"[safetensors]", "model.safetensors"});
    put(directory / "model.safetensors", std::string_view(whole).substr(0, 100));
    expect_error(load, {"[safetensors]", "model.safetensors"});
    fs::remove(directory / "model.safetensors");
    expect_error(load, {"expected 'model.safetensors' in", "save_pretrained()"});
    EXPECT_EQ(all_values(*model), before);
}

TEST_P(Pretraining, BadConfigurationsNameTheFileAndTheKey) {
    const auto open = [&] { open_pretrained(directory); };
    const std::string width = key("hidden_size", "dim");
    configure(width, "");
    expect_error(open, {"config.json': expected the key \"" + width + "\""});
    configure(width, "\"wide\"");
    expect_error(open, {"expected a whole number as \"" + width + "\", got \"wide\""});
    configure(width, "7");
    expect_error(open, {"config.json': the number of heads must divide the width 7, got "});
    configure("vocab_size", "-1");
    expect_error(open, {"expected vocab_size from 1 to 16777216, got -1"});
    configure("vocab_size", "24");  // smaller than the vocabulary
    expect_error(open, {"vocab_size = 24", "got 25"});
    configure("vocab_size", "30522");  // the vocabulary is far too small
    expect_error(open, {"vocab_size = 30522", "got 25"});
    const std::string blocks = key("num_hidden_layers", "n_layers");
    configure("vocab_size", "26");  // than the table has
    expect_error(open, {"word_embeddings.weight of shape (26, ", "config.json says, got (25, "});
    configure("max_position_embeddings", "1000000");
    expect_error(open, {"position_embeddings.weight of shape (1000000, ", "got (14, "});
    configure(blocks, "1000000");
    expect_error(open, {".layer.999999.", ", as config.json says, got none"});
    configure(key("intermediate_size", "hidden_dim"), "9999999");
    expect_error(open, {".layer.1.", "of shape (9999999, "});
    for (const char* number :
         {"18446744073709551615", "1e3", "1.5", "[]", "99999999999999999999"}) {
        configure(width, number);
        expect_error(open, {"expected a whole number as \"" + width + "\", got "});
    }
    configure(width, "9223372036854775807");
    expect_error(open, {"expected hidden_size from 1 to 16777216, got 9223372036854775807"});
    if (GetParam() == "bert") {
        configure("type_vocab_size", "9999999");
        expect_error(open, {"token_type_embeddings.weight of shape (9999999, ", "got (2, "});
        configure("layer_norm_eps", "\"small\"");
        expect_error(open, {"expected a number as \"layer_norm_eps\", got \"small\""});
    }
    put(directory / "config.json", "{\"vocab_size\": 1e999}");
    expect_error(open, {"config.json' has a number that is too large"});
    put(directory / "config.json", "{\"a\": " + std::string(1 << 20, '['));
    expect_error(open, {"config.json' is nested more than 64 levels deep"});
    configure(key("hidden_act", "activation"), "\"relu\"");
    expect_error(open,
                 {"expected \"gelu\" as", "got \"relu\". Known: gelu, gelu_python, gelu_new"});
    configure(key("hidden_act", "activation"), "[1]");
    expect_error(open, {"expected a text as \"" + key("hidden_act", "activation") + "\", got [1]"});
    configure(key("hidden_dropout_prob", "dropout"), "1.5");
    expect_error(open, {"expected hidden dropout from 0 to below 1, got 1.5"});
    configure("pad_token_id", "25");
    expect_error(open, {"expected pad_token_id from 0 to 24, got 25"});
    configure("model_type", "\"roberta\"");
    expect_error(open, {"unknown \"model_type\" \"roberta\"; known: bert, distilbert"});
    configure("model_type", "");
    expect_error(open, {"expected the key \"model_type\""});
    put(directory / "config.json", "{\"model_type\": ");
    expect_error(open, {"config.json' is not valid JSON: mistake at byte"});
    put(directory / "config.json", "[]");
    expect_error(open, {"expected an object, got array"});
    fs::remove(directory / "config.json");
    expect_error(open, {"config.json"});
    directory = root / "nowhere";
    expect_error(open, {"expected a directory, got", "nowhere"});
}

TEST_P(Pretraining, NamesOfClassesAreThoseOfEitherKey) {
    using Names = std::vector<std::string>;
    const auto labels = [&](const std::string& names, const std::string& numbers) {
        auto config = nlohmann::json::parse(get(golden(GetParam()) / "config.json"));
        config.erase("id2label");
        config.erase("label2id");
        if (!names.empty()) config["id2label"] = nlohmann::json::parse(names);
        if (!numbers.empty()) config["label2id"] = nlohmann::json::parse(numbers);
        put(directory / "config.json", config.dump());
        return open_pretrained(directory).labels;
    };
    const std::string counted = R"({"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"})";
    const std::string names = R"({"2": "a", "1": "b", "0": "c"})";
    const std::string numbers = R"({"a": 2, "b": 1, "c": 0})";
    EXPECT_EQ(labels("", ""), Names());
    EXPECT_EQ(labels(counted, ""), (Names{"LABEL_0", "LABEL_1", "LABEL_2"}));
    EXPECT_EQ(labels(names, ""), (Names{"c", "b", "a"}));
    EXPECT_EQ(labels("", numbers), (Names{"c", "b", "a"}));
    EXPECT_EQ(labels(names, numbers), (Names{"c", "b", "a"}));
    EXPECT_EQ(labels(counted, numbers), (Names{"c", "b", "a"}));
    EXPECT_EQ(labels(names, R"({"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2})"),
              (Names{"c", "b", "a"}));
    EXPECT_EQ(labels(R"({"0": 0, "1": 1, "2": 2})", ""), (Names{"0", "1", "2"}));
    const auto refused = [&](const std::string& id2label, const std::string& label2id,
                             std::initializer_list<std::string> parts) {
        expect_error([&] { labels(id2label, label2id); }, parts);
    };
    refused(names, R"({"a": 0, "b": 1, "c": 2})", {"class 0 is \"c\"", "that it is \"a\""});
    refused(R"({"0": "a", "2": "b", "4": "c"})", "", {"a name for each", "for \"4\""});
    refused(R"({"0": "a", "1": null, "2": "c"})", "", {"a name for each", "got null for \"1\""});
    refused(R"({"0": "a", "00": "b", "1": "c"})", "", {"a name for each"});
    refused(R"({"0": "a", "1": "b"})", "", {"classifier.weight of shape (2, ", "got (3, "});
    refused("[]", "", {"\"id2label\", got []"});
    refused("", "7", {"\"label2id\", got 7"});
    configure("num_labels", "4");
    expect_error([&] { open_pretrained(directory); }, {"\"num_labels\" = 4, got 3"});
    // Without either key the weights say how many there are.
    put(directory / "config.json", [&] {
        auto config = nlohmann::json::parse(get(golden(GetParam()) / "config.json"));
        for (const char* name : {"id2label", "label2id", "num_labels"}) config.erase(name);
        return config.dump();
    }());
    EXPECT_EQ(open_pretrained(directory).config.classes, 3);
}

TEST_P(Pretraining, ClassesAreTakenInTheOrderOfTheDataSet) {
    const Tensor stored =
        SafeTensors::open(directory / "model.safetensors").tensor("classifier.bias");
    const auto bias = [&](TextModel& model) {
        std::vector<real> values;
        for_each_parameter(model, [&](const std::string& name, Parameter& p) {
            if (name == "classifier.bias")
                values.assign(p.value.values().begin(), p.value.values().end());
        });
        return values;
    };
    const real* const b = stored.data();
    const auto model = fresh();
    load_pretrained(directory, *model, {.order = {2, 0, 1}, .problem = ""});
    EXPECT_EQ(bias(*model), (std::vector<real>{b[2], b[0], b[1]}));
    const auto other = fresh();
    const LoadReport report =
        load_pretrained(directory, *other, {.order = {}, .problem = "its classes are x"});
    EXPECT_EQ(report.fresh, (std::vector<std::string>{"classifier.weight", "classifier.bias"}));
    EXPECT_EQ(report.other_classes, "its classes are x");
    EXPECT_EQ(to_string(report),
              "fresh, since of other classes: its classes are x; unused: classifier.bias, "
              "classifier.weight");
    EXPECT_EQ(bias(*other), (std::vector<real>{0, 0, 0}));

    save_pretrained(root / "saved", *model, open_pretrained(directory).tokenizer, {"x", "y", "z"});
    EXPECT_EQ(open_pretrained(root / "saved").labels, (std::vector<std::string>{"x", "y", "z"}));
    save_pretrained(root / "saved", *model, open_pretrained(directory).tokenizer);
    EXPECT_EQ(open_pretrained(root / "saved").labels,
              (std::vector<std::string>{"LABEL_0", "LABEL_1", "LABEL_2"}));
}

TEST_P(Pretraining, ActivationsKeepTheirNames) {
    configure(key("hidden_act", "activation"), "\"gelu_python\"");
    const Pretrained opened = open_pretrained(directory);
    EXPECT_EQ(opened.config.activation, "gelu_python");
    save_pretrained(root / "saved", *make_text_model(opened.config), opened.tokenizer);
    EXPECT_EQ(open_pretrained(root / "saved").config.activation, "gelu_python");
}

TEST_P(Pretraining, NeedsAVocabulary) {
    fs::remove(directory / "vocab.txt");
    expect_error([&] { open_pretrained(directory); }, {"'tokenizer.json' or 'vocab.txt'"});
    put(directory / "vocab.txt", "[PAD]\n[UNK]\n[SEP]\na\n");
    expect_error([&] { open_pretrained(directory); }, {"vocab.txt", "[CLS]"});
}

TEST_P(Pretraining, WritesWhatItReads) {
    const Pretrained opened = open_pretrained(directory);
    const auto model = make_text_model(opened.config);
    load_pretrained(directory, *model);
    save_pretrained(root / "saved", *model, opened.tokenizer);

    const Pretrained again = open_pretrained(root / "saved");
    const auto copy = make_text_model(again.config);
    EXPECT_EQ(to_string(load_pretrained(root / "saved", *copy)), "every tensor found its place");
    EXPECT_EQ(all_values(*copy), all_values(*model));
    EXPECT_EQ(again.config.classes, 3);
    EXPECT_EQ(again.config.classifier_dropout, 0.5);
    EXPECT_EQ(get(root / "saved" / "vocab.txt"), get(directory / "vocab.txt"));
    EXPECT_EQ(SafeTensors::open(root / "saved" / "model.safetensors").names(),
              SafeTensors::open(directory / "model.safetensors").names());
}

/// The file again in bfloat16: the upper half of every float.
TEST_P(Pretraining, ReadsHalfPrecision) {
    const SafeTensors old = SafeTensors::open(directory / "model.safetensors");
    std::string values;
    nlohmann::json header;
    for (const std::string& name : old.names()) {
        const std::size_t begin = values.size();
        for (const float value : old.tensor(name).values())
            values.append(reinterpret_cast<const char*>(&value) + 2, 2);
        header[name] = {{"dtype", "BF16"},
                        {"shape", old.shape(name)},
                        {"data_offsets", {begin, values.size()}}};
    }
    const std::string text = header.dump();
    std::string size(8, '\0');
    for (std::size_t i = 0; i < 8; ++i) size[i] = static_cast<char>(text.size() >> (8 * i));
    put(directory / "model.safetensors", size + text + values);

    const auto exact = fresh(), half = fresh();
    load_pretrained(golden(GetParam()), *exact);
    EXPECT_EQ(to_string(load_pretrained(directory, *half)), "every tensor found its place");
    const std::vector<real> expected = all_values(*exact), got = all_values(*half);
    for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got[i], expected[i], std::abs(expected[i]) / 128) << i;
    EXPECT_NE(got, expected);
}

// A slice of what transformers computes with the real MiniLM, whose weights are not shipped.
TEST(PretrainedMiniLm, HiddenStatesEqualTransformers) {
    const char* const checkpoint = std::getenv("SLIMGRAD_MINILM");
    if (!checkpoint) GTEST_SKIP() << "SLIMGRAD_MINILM names no checkpoint directory";
    const GoldenFile file("bert/minilm");
    const auto model = make_text_model(open_pretrained(checkpoint).config);
    load_pretrained(checkpoint, *model);
    const auto integers = [&](const char* name) {
        const Tensor t = file[name];
        return std::vector<std::int32_t>(t.values().begin(), t.values().end());
    };
    const Tokens tokens{file["ids"].size(1), integers("ids"), integers("types"), file["padding"]};
    const std::vector<std::int32_t> places = integers("places");
    Tape tape({.training = false, .recording = false});
    const std::vector<Var> states = model->hidden_states(tape, tokens);
    double error = 0;
    for (std::size_t i = 0; i < states.size(); ++i) {
        const Tensor expected = file[fmt::format("hidden.{}", i)];  // (texts, places, features)
        const std::int64_t features = expected.size(2), width = states[i].size(2);
        const real* value = expected.data();
        for (std::int64_t text = 0; text < expected.size(0); ++text)
            for (const std::int32_t place : places)
                for (std::int64_t j = 0; j < features; ++j) {
                    const std::int64_t at = (text * tokens.length + place) * width + j;
                    error =
                        std::max(error, std::abs(double{states[i].value().data()[at]} - *value++));
                }
    }
    expect_error_within(1e-4, error, "hidden states");
}

INSTANTIATE_TEST_SUITE_P(Kinds, Pretraining, testing::Values("bert", "distilbert"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace slimgrad
