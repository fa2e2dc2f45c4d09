#include "cli_fixture.h"

namespace cli_test {
namespace {

/// The program on texts.
class CliText : public Cli {
  protected:
    static Words texts(const Words& more, const std::string& command = "train",
                       const std::string& length = "32") {
        Words words = {command,
                       "--data",
                       "embedded-text",
                       "--limit-train",
                       "32",
                       "--limit-test",
                       "16",
                       "--batch",
                       "8",
                       "--max-length",
                       length,
                       "--threads",
                       "1"};
        words.insert(words.end(), more.begin(), more.end());
        return words;
    }
    void put(const std::string& file, const std::string& text) const {
        std::ofstream(root_ / file) << text;
    }
};

TEST_F(CliText, ARunIsAllThatEvalNeeds) {
    const json summary = run_json(texts({"--model", "bert-tiny", "--method", "instant",
                                         "--calibrate-batches", "1", "--out", "run", "--json"}));
    EXPECT_TRUE(summary["f1"].is_number());
    const json eval = run_json({"eval", "--from", "run", "--json"});
    for (const char* key : {"accuracy", "f1", "loss", "majority_baseline", "model", "data"})
        EXPECT_EQ(eval[key], summary[key]) << key;
    EXPECT_EQ(eval["samples"], 16);
    EXPECT_EQ(run_json({"eval", "--from", "run", "--limit-test", "8", "--json"})["samples"], 8);
    const Result result = run({"eval", "--from", "run"});
    EXPECT_NE(result.out.find("majority class: accuracy 50.00 %  f1 66.67 %"), std::string::npos)
        << result.out;
    EXPECT_EQ(run({"snr", "--source", "run", "--batches", "1", "--calibrate-batches", "1",
                   "--threads", "1", "--quiet"})
                  .status,
              0);
    EXPECT_EQ(run({"report", "run"}).status, 0);
    EXPECT_NE(text_of(root_ / "run" / "report.html").find("majority class"), std::string::npos);
}

TEST_F(CliText, TextsMayBeFilledUpToTheLongestOfTheirBatch) {
    const auto train = [](Words more) {
        more.insert(more.end(), {"--model", "bert-tiny", "--pad", "batch"});
        return texts(more, "train", "96");
    };
    const json summary = run_json(train({"--out", "run", "--json"}));
    EXPECT_LT(summary["tokens"]["per_sample"], 96);
    const json eval = run_json({"eval", "--from", "run", "--json"});
    for (const char* key : {"accuracy", "f1", "loss"}) EXPECT_EQ(eval[key], summary[key]) << key;
    expect_refused(train({"--method", "instant", "--out", "bad"}), "side channel, or pad fixed");
    expect_refused({"train", "--pad", "batch", "--out", "bad"}, "pad is for texts");
    expect_refused({"train", "--pad", "longest", "--out", "bad"}, "Known: fixed, batch");
    EXPECT_FALSE(fs::exists(root_ / "bad"));
    const Words snr{"snr", "--source",  "run", "--batches", "1", "--calibrate-batches",
                    "1",   "--threads", "1",   "--quiet"};
    expect_refused(snr, "the batches of 'run' have lengths of their own");
    Words channel = snr;
    channel.insert(channel.end(), {"--side", "channel"});
    EXPECT_EQ(run(channel).status, 0);
}

TEST_F(CliText, MethodsOfAComparisonMayHaveOptionsOfTheirOwn) {
    const json document = run_json(
        texts({"--methods", "vanilla,instant:oversample=1,instant:oversample=3:train-blocks=last:1",
               "--calibrate-batches", "1", "--out", "cmp", "--json"},
              "compare"));
    ASSERT_EQ(document["methods"].size(), 3u);
    EXPECT_EQ(document["methods"][2]["method"], "instant:oversample=3:train-blocks=last:1");
    const auto config = [&](int i) {
        return json::parse(text_of(root_ / document["runs"][i].get<std::string>() / "config.json"));
    };
    EXPECT_EQ(config(1)["oversample"], 1);
    EXPECT_EQ(config(1)["train_blocks"], "all");
    EXPECT_EQ(config(2)["oversample"], 3);
    EXPECT_EQ(config(2)["train_blocks"], "last:1");
    EXPECT_LT(document["methods"][2]["backward_flops"]["mean"],
              document["methods"][1]["backward_flops"]["mean"]);
    const std::string table = text_of(root_ / "cmp" / "compare.md");
    EXPECT_NE(table.find("majority class | 50.00 | 66.67"), std::string::npos) << table;
    EXPECT_EQ(table.find("Matthews"), std::string::npos) << table;

    const auto methods = [](const std::string& list) {
        return texts({"--methods", list, "--out", "bad"}, "compare");
    };
    expect_refused(methods("instant:oversampel=3"), "unknown option 'oversampel'");
    expect_refused(methods("instant:oversample=many"), "as oversample, got 'many'");
    expect_refused(methods("instant:seed=3"), "'seed' is not for a method to choose");
    expect_refused(methods("instant:3"), "expected option=value");
    expect_refused(methods("vanilla,vanilla"), "'vanilla' twice");
}

TEST_F(CliText, BadInputIsOneLineAndStatus2) {
    const std::string columns = "id\tsentence1\tsentence2\tlabel\n";
    const std::string line = "1\tone\ttwo\t1\n";
    const Words data = {"train",   "--data", "paws-wiki", "--data-dir", ".",
                        "--batch", "1",      "--out",     "run"};
    put("dev.tsv", columns + line);
    put("train.tsv", "id\tsentence1\tlabel\n1\tone\t1\n");
    expect_refused(data, "train.tsv': expected a column \"sentence2\"");
    put("train.tsv", columns + line + "2\tone\t\xff two\t1\n");
    expect_refused(data, "UTF-8");
    put("train.tsv", columns + line + "2\tone\ttwo\t2\n");
    expect_refused(data, "line 3: expected the label 0 or 1, got \"2\"");
    put("train.tsv", columns + line + "2\tone\n");
    expect_refused(data, "line 3");
    expect_refused({"train", "--data", "mrpc", "--out", "run"}, "slimgrad data get mrpc");
    put("words.txt", "[PAD]\n[UNK]\n[SEP]\nthe\n");
    expect_refused(texts({"--vocab", "words.txt", "--out", "run"}), "[CLS]");
    expect_refused(texts({"--vocab", "none.txt", "--out", "run"}), "none.txt");
    expect_refused(texts({"--model", "vit-micro", "--out", "run"}),
                   "reads images, and data 'embedded-text' are texts. Known for these: bert-base");
    expect_refused({"train", "--model", "bert-tiny"}, "reads texts");
    expect_refused(texts({"--from", "none", "--out", "run"}), "there is no such file or directory");
    fs::create_directories(root_ / "empty");
    expect_refused(texts({"--from", "empty", "--out", "run"}), "config.json");
    expect_refused(texts({"--from", "words.txt", "--out", "run"}), "words.txt");
    expect_refused({"eval", "--data", "embedded-text", "--from", "none"}, "no such file");
    EXPECT_FALSE(fs::exists(root_ / "run"));
}

}  // namespace
}  // namespace cli_test
