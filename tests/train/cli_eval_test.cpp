// `slimgrad eval` of directories in Hugging Face's layout: nothing wrong may look right.
#include <limits>

#include "cli_fixture.h"
#include "data/safetensors.h"
#include "nn/models/text_model.h"
#include "train/pretrained.h"

namespace cli_test {
namespace {

using namespace slimgrad;

const std::vector<std::string> entailment{"entailment", "not_entailment"};

class CliEval : public Cli {
  protected:
    CliEval() {
        const std::string columns = "index\tsentence1\tsentence2\tlabel\n";
        put("RTE/train.tsv", columns +
                                 "0\tthe cat\ta b .\tnot_entailment\n"
                                 "1\ta\tb\tentailment\n");
        put("RTE/dev.tsv", columns +
                               "0\tthe cat\ta b .\tnot_entailment\n"
                               "1\tb\tthe cat\tnot_entailment\n");
    }
    void put(const std::string& name, const std::string& text) const {
        fs::create_directories((root_ / name).parent_path());
        std::ofstream(root_ / name, std::ios::binary) << text;
    }
    /// A checkpoint that always calls a text by its class 0, and says what its classes are called.
    void save(const std::string& name, const std::vector<std::string>& labels,
              double bias = 10) const {
        std::vector<std::string> words{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "a", "b"};
        const Tokenizer tokenizer(Vocabulary(words, "t"), {}, {}, "t");
        BertConfig config;
        config.vocab_size = tokenizer.size();
        config.hidden_size = 8;
        config.num_hidden_layers = 1;
        config.num_attention_heads = 2;
        config.intermediate_size = 16;
        config.max_position_embeddings = 32;
        config.classes = std::ssize(labels);
        const auto model = make_text_model(config);
        for_each_parameter(*model, [&](const std::string& parameter, Parameter& p) {
            if (parameter == "classifier.bias") p.value.data()[0] = static_cast<real>(bias);
        });
        save_pretrained(root_ / name, *model, tokenizer, labels);
    }
    static Words eval(const std::string& from, const Words& more = {}) {
        Words words{"eval",         "--data", "rte",     "--data-dir", "RTE",       "--from", from,
                    "--max-length", "16",     "--batch", "2",          "--threads", "1"};
        words.insert(words.end(), more.begin(), more.end());
        return words;
    }
    double accuracy(const std::string& from) const {
        return run_json(eval(from, {"--json"}))["accuracy"];
    }
};

TEST_F(CliEval, ClassesAreMatchedByTheirNames) {
    save("same", entailment);
    save("other", {"not_entailment", "entailment"});
    save("spelled", {"Not Entailment", "ENTAILMENT"});
    save("numbers", {"LABEL_0", "LABEL_1"});
    save("turned", {"LABEL_1", "LABEL_0"});
    EXPECT_EQ(accuracy("same"), 0);
    EXPECT_EQ(accuracy("other"), 1);
    EXPECT_EQ(accuracy("spelled"), 1);
    EXPECT_EQ(accuracy("numbers"), 0);
    EXPECT_EQ(accuracy("turned"), 1);
    save("strange", {"yes", "no"});
    expect_refused(eval("strange"),
                   "the checkpoint's classes are \"yes\", \"no\", those of the data set "
                   "\"entailment\", \"not_entailment\"");
    save("three", {"entailment", "neutral", "contradiction"});
    expect_refused(eval("three"), "classifier.weight (3, 8), expected (2, 8)");
}

TEST_F(CliEval, ARunFromACheckpointHasTheNamesOfTheDataSet) {
    save("other", {"not_entailment", "entailment"});
    const Words train{"train", "--data",       "rte", "--data-dir", "RTE", "--from",
                      "other", "--max-length", "16",  "--batch",    "2",   "--threads",
                      "1",     "--lr",         "0",   "--steps",    "1",   "--out",
                      "run",   "--json"};
    const json summary = run_json(train);
    EXPECT_EQ(summary["accuracy"], 1);
    EXPECT_EQ(summary["fresh"], json::array());
    EXPECT_EQ(summary["unused"], json::array());
    const json config = json::parse(text_of(root_ / "run/model/config.json"));
    EXPECT_EQ(config["id2label"], json::parse(R"({"0": "entailment", "1": "not_entailment"})"));
    EXPECT_EQ(run_json({"eval", "--from", "run", "--json"})["accuracy"], 1);
    put("one.json", R"({"limit_test": 1})");  // over the options of the run
    EXPECT_EQ(run_json({"eval", "--from", "run", "--config", "one.json", "--json"})["samples"], 1);
    expect_refused({"eval", "--from", "run", "--config", "absent.json"}, "absent.json");
    // A classifier of other classes is no beginning: that of the run is drawn.
    save("strange", {"yes", "no"});
    Words again = train;
    std::ranges::replace(again, std::string("other"), std::string("strange"));
    std::ranges::replace(again, std::string("run"), std::string("again"));
    EXPECT_EQ(run_json(again)["fresh"], json({"classifier.weight", "classifier.bias"}));
}

TEST_F(CliEval, WeightsThatWereNeverLoadedAreNotEvaluated) {
    save("model", entailment);
    const fs::path file = root_ / "model/model.safetensors";
    std::vector<NamedTensor> tensors;
    {
        const SafeTensors old = SafeTensors::open(file);
        for (const std::string& name : old.names())
            if (!name.starts_with("classifier")) tensors.push_back({name, old.tensor(name)});
    }
    tensors.push_back({"cls.bias", Tensor::zeros({2})});
    write_safetensors(file, tensors);
    expect_refused(
        eval("model"),
        "'model' lacks weights of this model (fresh: classifier.weight, classifier.bias). "
        "Hint: train it first, or --allow-fresh");
    const json document = run_json(eval("model", {"--allow-fresh", "--json"}));
    EXPECT_EQ(document["fresh"], json({"classifier.weight", "classifier.bias"}));
    EXPECT_EQ(document["unused"], json({"cls.bias"}));
    save("whole", entailment);
    EXPECT_EQ(run_json(eval("whole", {"--json"}))["fresh"], json::array());
    // A run says the same of what it began from, also when it was interrupted.
    const json summary = run_json({"train", "--data", "rte", "--data-dir", "RTE", "--from", "model",
                                   "--max-length", "16", "--batch", "2", "--threads", "1",
                                   "--steps", "1", "--out", "run", "--json"});
    EXPECT_EQ(summary["fresh"], document["fresh"]);
    EXPECT_EQ(summary["unused"], document["unused"]);
    const json again = run_json({"train", "--resume", "run", "--json"});
    EXPECT_EQ(again["fresh"], document["fresh"]);
    EXPECT_EQ(again["unused"], document["unused"]);
}

TEST_F(CliEval, ValuesThatAreNotFiniteAreRefused) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double infinity = std::numeric_limits<double>::infinity();
    for (const double bad : {nan, infinity}) {
        save("model", entailment, bad);
        expect_refused(eval("model"), "classifier.bias holds a value that is not finite: ");
    }
    // Finite weights, from which infinity comes.
    save("large", entailment, std::numeric_limits<float>::max());
    const SafeTensors stored = SafeTensors::open(root_ / "large/model.safetensors");
    std::vector<NamedTensor> tensors;
    for (const std::string& name : stored.names()) {
        Tensor tensor = stored.tensor(name);
        if (name == "classifier.weight") tensor = Tensor::full(tensor.shape(), 3e38f);
        if (name == "bert.pooler.dense.bias") tensor = Tensor::full(tensor.shape(), 20);
        tensors.push_back({name, tensor});
    }
    write_safetensors(root_ / "spoilt.safetensors", tensors);
    fs::rename(root_ / "spoilt.safetensors", root_ / "large/model.safetensors");
    expect_refused(eval("large"), "[eval] the loss on the test set is ");

    run_json(train({"--steps", "1", "--out", "run", "--json"}));
    const fs::path weights = root_ / "run/model.safetensors";
    std::string bytes = text_of(weights);
    bytes.replace(bytes.size() - 4, 4, std::string("\x00\x00\xc0\x7f", 4));
    put("run/model.safetensors", bytes);
    expect_refused({"eval", "--from", "run"}, "holds a value that is not finite");
    // Weights that a checkpoint holds are no better.
    std::string saved = text_of(root_ / "run/checkpoint.safetensors");
    const SafeTensorsHeader header = parse_safetensors(
        std::span(reinterpret_cast<const std::uint8_t*>(saved.data()), saved.size()), "saved");
    const auto weight = std::ranges::find(header.tensors, "model.fc1.bias", &TensorEntry::name);
    ASSERT_NE(weight, header.tensors.end());
    saved.replace(static_cast<std::size_t>(header.length + weight->begin), 4,
                  std::string("\x00\x00\x80\x7f", 4));
    put("run/checkpoint.safetensors", saved);
    expect_refused({"snr", "--source", "run", "--batches", "1", "--threads", "1", "--quiet"},
                   "model.fc1.bias holds a value that is not finite: inf at index (0,)");
    expect_refused({"eval", "--model", "mlp", "--from", "run/model.safetensors"},
                   "holds a value that is not finite");
}

TEST_F(CliEval, ARunOnImagesReadsNoTextsAndTheOtherWayRound) {
    run_json(train({"--steps", "1", "--augment", "--out", "images", "--json"}));
    const std::string refused =
        "from 'images' is a run on images (embedded-images), and data 'embedded-text' are texts";
    expect_refused({"eval", "--from", "images", "--data", "embedded-text"}, refused);
    expect_refused({"train", "--from", "images", "--data", "embedded-text", "--out", "x"}, refused);
    save("model", entailment);
    run_json({"train", "--data", "rte", "--data-dir", "RTE", "--from", "model", "--max-length",
              "16", "--batch", "2", "--threads", "1", "--steps", "1", "--out", "texts", "--json"});
    expect_refused({"eval", "--from", "texts", "--data", "embedded-images"},
                   "from 'texts' is a run on texts (rte), and data 'embedded-images' are images");
}

TEST_F(CliEval, AConfigurationIsHeldAgainstTheWeightsBeforeMemoryIsTaken) {
    save("model", entailment);
    const auto change = [&](const std::string& file, const char* key, std::int64_t value) {
        json config = json::parse(text_of(root_ / file));
        config[key] = value;
        put(file, config.dump());
    };
    change("model/config.json", "type_vocab_size", 16'000'000);
    expect_refused(eval("model"),
                   "token_type_embeddings.weight of shape (16000000, 8), as "
                   "config.json says, got (2, 8)");
    save("model", entailment);
    const Words train{"train", "--data",       "rte", "--data-dir", "RTE", "--from",
                      "model", "--max-length", "16",  "--batch",    "2",   "--threads",
                      "1",     "--steps",      "1",   "--out",      "run", "--json"};
    run_json(train);
    change("run/model/config.json", "max_position_embeddings", 16'000'000);
    const std::string refused = "embeddings.position.weight of shape (16000000, 8)";
    expect_refused({"eval", "--from", "run"}, refused);
    fs::remove(root_ / "run/summary.json");  // else it is complete, and nothing is read
    expect_refused({"train", "--resume", "run"}, refused);
    fs::remove(root_ / "model/model.safetensors");
    expect_refused(eval("model"), "expected 'model.safetensors' in 'model'");
    json config = json::parse(text_of(root_ / "run/config.json"));
    config["lr"] = "LR";
    std::string text = config.dump();
    put("run/config.json", text.replace(text.find("\"LR\""), 4, "1e999"));
    expect_refused({"eval", "--from", "run"}, "too large");
}

}  // namespace
}  // namespace cli_test
