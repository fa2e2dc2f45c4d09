#include "data/safetensors.h"
#include "data/shipped.h"
#include "data/text_loader.h"
#include "nn/models/text_model.h"
#include "train/pretrained.h"
#include "train/task.h"
#include "train_fixture.h"

namespace slimgrad {
namespace {

/// Runs on the texts that ship with slimgrad.
class TextRun : public Train {
  protected:
    /// A checkpoint as Hugging Face's library would leave it.
    fs::path checkpoint(const char* preset = "bert-tiny") const {
        const Tokenizer tokenizer = Tokenizer::open(find_shipped("embedded-text") / "vocab.txt");
        BertConfig config = bert_preset(preset);
        config.vocab_size = tokenizer.vocabulary().size();
        config.seed = 17;
        const auto model = make_text_model(config);
        save_pretrained(root_ / preset, *model, tokenizer);
        return root_ / preset;
    }
};

TEST_F(TextRun, MeasuresTheMetricsOfTheDataBesideTheMajorityClass) {
    TrainConfig config = texts("run");
    config.method = "instant";
    ASSERT_TRUE(run(config));
    const json s = summary("run");
    EXPECT_EQ(s["majority_baseline"]["accuracy"], 0.5);
    EXPECT_NEAR(s["majority_baseline"]["f1"], 2.0 / 3, 1e-12);
    EXPECT_GE(s["f1"], 0);
    EXPECT_EQ(s["epochs"].size(), 2);
    EXPECT_EQ(s["epochs"].back()["f1"], s["f1"]);
    for (const std::string metric : {"accuracy", "f1"}) {
        const json &first = s["epochs"][0][metric], &second = s["epochs"][1][metric];
        const bool is_first = first >= second;  // of equal ones too
        EXPECT_EQ(s["best_" + metric], is_first ? first : second) << metric;
        EXPECT_EQ(s["best_" + metric + "_epoch"], is_first ? 1 : 2) << metric;
    }
    EXPECT_EQ(s["test_samples"], 20);
    EXPECT_EQ(metrics("run").back()["f1"], s["f1"]);
    EXPECT_FALSE(s["config"].contains("dropout")) << "the model's own";
    for (const json& layer : s["layers"]) {
        const bool block = has(layer["name"], "blocks.");
        EXPECT_EQ(layer["rank_x"].is_number(), block) << layer;
        EXPECT_EQ(layer["rank_g"].is_number(), block) << layer;
        if (!block) continue;
        EXPECT_EQ(layer["L"], 40);
        EXPECT_EQ(layer["side"], "token");
    }
}

TEST_F(TextRun, AnInterruptedRunEndsInTheSameBitsWithoutItsVocabulary) {
    for (const std::string method : {"vanilla", "instant"}) {
        const fs::path vocabulary = root_ / "words.txt";
        fs::copy_file(find_shipped("embedded-text") / "vocab.txt", vocabulary);
        TrainConfig config = texts("straight" + method);
        config.method = method;
        config.vocab = vocabulary.string();
        config.steps = 7;
        config.calibrate_split = 3;
        ASSERT_TRUE(run(config));
        const std::string broken = "broken" + method;
        config.out = (root_ / broken).string();
        ASSERT_FALSE(run(config, 4));
        fs::remove(vocabulary);
        ASSERT_TRUE(Trainer(fs::path(config.out), options()).run());
        EXPECT_EQ(weights(broken), weights("straight" + method)) << method;
        EXPECT_EQ(metrics(broken), metrics("straight" + method)) << method;
        const json a = summary("straight" + method), b = summary(broken);
        for (const char* key : {"flops", "layers", "accuracy", "f1", "ranks", "epochs"})
            EXPECT_EQ(a.at(key), b.at(key)) << method << ' ' << key;
    }
}

TEST_F(TextRun, FrozenBlocksSaveNothing) {
    TrainConfig config = texts("run");
    config.train_blocks = "last:1";
    config.steps = 2;
    ASSERT_TRUE(run(config));
    config.train_blocks = "all";
    config.out = (root_ / "all").string();
    ASSERT_TRUE(run(config));
    const json last = summary("run"), all = summary("all");
    std::int64_t saved = 0;
    for (const json& layer : last["layers"]) {
        const bool frozen = has(layer["name"], "blocks.0");
        EXPECT_EQ(layer["needs_gw"], !frozen) << layer["name"];
        if (frozen) {
            EXPECT_EQ(layer["saved_per_sample"], 0) << layer["name"];
        }
        saved += layer["saved_per_sample"].get<std::int64_t>();
    }
    EXPECT_GT(saved, 0);
    EXPECT_LT(last["bytes"]["saved_per_sample"].get<double>(),
              0.6 * all["bytes"]["saved_per_sample"].get<double>());
    const auto words = [&](const char* name) {
        Batch batch;
        batch.x =
            SafeTensors::open(root_ / name / "model.safetensors").tensor("embeddings.word.weight");
        return digest(batch);
    };
    config.lr = 0;
    config.out = (root_ / "initial").string();
    ASSERT_TRUE(run(config));
    EXPECT_EQ(words("run"), words("initial"));
    EXPECT_NE(words("run"), words("all"));
}

TEST_F(TextRun, SplitCalibrationsFindTheSameRanks) {
    TrainConfig config = texts("whole");
    config.method = "instant";
    config.steps = 1;
    ASSERT_TRUE(run(config));
    config.calibrate_split = 3;
    config.out = (root_ / "split").string();
    ASSERT_TRUE(run(config));
    EXPECT_EQ(summary("split")["ranks"], summary("whole")["ranks"]);
}

TEST_F(TextRun, PaddingChangesNoLogit) {
    const auto data = std::make_shared<TextData>(load_text("embedded-text", "").test);
    const Tokenizer tokenizer = Tokenizer::open(find_shipped("embedded-text") / "vocab.txt");
    BertConfig sizes = bert_preset("bert-tiny");
    sizes.vocab_size = tokenizer.vocabulary().size();
    const auto model = make_text_model(sizes);
    const auto of = [&](PadTo pad_to) {
        const TextLoader loader(data, tokenizer, {.batch_size = 16, .pad_to = pad_to});
        Tape tape({.training = false, .recording = false});
        return logits(*model, tape, loader.batch(0)).value().clone();
    };
    const Tensor full = of(PadTo::max_length), shorter = of(PadTo::longest_of_batch);
    for (std::size_t i = 0; i < full.values().size(); ++i)
        EXPECT_NEAR(full.values()[i], shorter.values()[i], 1e-5);
}

TEST_F(TextRun, BeginsFromADirectoryOfHuggingFaceOrFromARun) {
    TrainConfig config = texts("run");
    config.model.clear();
    config.from = checkpoint().string();
    ASSERT_TRUE(run(config));
    EXPECT_EQ(summary("run")["model"], "bert-tiny");
    fs::remove_all(config.from);

    // A run is all that is needed to use its model again.
    config.from = (root_ / "run").string();
    config.out = (root_ / "more").string();
    config.lr = 0;
    ASSERT_TRUE(run(config));
    EXPECT_EQ(weights("more"), weights("run"));
    EXPECT_EQ(summary("more")["accuracy"], summary("run")["accuracy"]);
    config.out = config.from;
    TrainerOptions overwrite = options();
    overwrite.overwrite = true;
    EXPECT_TRUE(has(message([&] { Trainer(config, overwrite); }), "another directory as out"));
    config.from = (root_ / "run" / "model.safetensors").string();
    config.out = (root_ / "file").string();
    ASSERT_TRUE(run(config));
    EXPECT_EQ(weights("file"), weights("run"));
}

TEST_F(TextRun, WhatDoesNotFitIsRefusedBeforeAnyWork) {
    const auto with = [&](auto change) {
        TrainConfig config = texts("bad");
        change(config);
        std::string said = message([&] { Trainer(config, options()); });
        EXPECT_FALSE(has(said, "\n")) << said;
        EXPECT_FALSE(fs::exists(root_ / "bad" / "config.json")) << said;
        return said;
    };
    using C = TrainConfig;
    const auto expect = [&](const std::string& part, auto change) {
        const std::string said = with(change);
        EXPECT_TRUE(has(said, part)) << said;
    };
    expect(
        "model 'vit-micro' reads images, and data 'embedded-text' are texts. Known for these: "
        "bert-base",
        [](C& c) { c.model = "vit-micro"; });
    expect(
        "model 'bert-tiny' reads texts, and data 'embedded-images' are images. Known for "
        "these: mlp",
        [](C& c) { c.data = "embedded-images"; });
    expect("unknown model 'gpt'. Known: bert-base", [](C& c) { c.model = "gpt"; });
    expect("augment is for images", [](C& c) { c.augment = true; });
    expect("as max_length, got 0", [](C& c) { c.max_length = 0; });
    expect("at least 5 tokens", [](C& c) { c.max_length = 4; });
    expect("max_length 513 is more than the 512 positions", [](C& c) { c.max_length = 513; });
    expect("below 1 as dropout, got 1", [](C& c) { c.dropout = 1; });
    expect("nowhere': there is no such file", [](C& c) { c.from = "nowhere"; });
    expect("none.txt", [](C& c) { c.vocab = "none.txt"; });
    expect("mrpc needs a data directory", [](C& c) { c.data = "mrpc"; });

    const std::string words = (root_ / "words.txt").string();
    std::ofstream(words) << "[PAD]\n[UNK]\n[SEP]\nthe\n";
    expect("[CLS]", [&](C& c) { c.vocab = words; });

    const std::string from = checkpoint().string();
    expect("is a bert-tiny, not the model 'bert-small'", [&](C& c) {
        c.from = from;
        c.model = "bert-small";
    });
    expect("leave out vocab", [&](C& c) {
        c.from = from;
        c.vocab = words;
    });
    fs::copy_file(words, fs::path(from) / "vocab.txt", fs::copy_options::overwrite_existing);
    expect("[CLS]", [&](C& c) { c.from = from; });
    fs::remove(fs::path(from) / "config.json");
    expect("config.json", [&](C& c) { c.from = from; });
}

}  // namespace
}  // namespace slimgrad
