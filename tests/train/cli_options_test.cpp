// What the command line refuses, and what it says to options that do nothing.
#include "cli_fixture.h"

namespace cli_test {
namespace {

TEST_F(Cli, AnEmptyValueIsNoValue) {
    const Words options = {
        "train --lr",        "train --epochs",  "train --out",         "train --resume",
        "train --config",    "train --side-x",  "train --dropout",     "train --from",
        "compare --methods", "compare --seeds", "compare --out",       "eval --from",
        "cost --tokens",     "cost --model",    "cost --side-g",       "snr --epsilon",
        "snr --source",      "snr --alpha",     "snr --out",           "bench --rounds",
        "bench --ranks",     "bench --batch",   "report runs --out",   "trace --methods",
        "trace --out",       "trace --chrome",  "trace --warmup-steps"};
    for (const std::string& option : options) {
        Words words;
        std::istringstream in(option);
        for (std::string word; in >> word;) words.push_back(word);
        const std::string name = words.back();
        words.emplace_back("");
        expect_refused(words, name + ", got an empty text");
        words.pop_back();
        words.back() += "=";
        expect_refused(words, "expected a value after '" + name + "=', got an empty text");
    }
    expect_refused({"train", "--overwrite="}, "expected a value after '--overwrite='");
    expect_refused({"train", "--overwrite=2"}, "--overwrite");
    expect_refused({"train", "--out", "--json"}, "expected a text as --out, got the option --json");
    expect_refused({"train", "--resume", "--quiet"}, "as --resume, got the option --quiet");
    expect_refused({"bench", ""}, "as cases, got an empty text");
    expect_refused({"report", ""}, "as runs, got an empty text");
    expect_refused({"data", "verify", ""}, "as name, got an empty text");
    expect_refused({"compare", "--methods", "instant:side_x="}, "as side_x, got an empty text");
    EXPECT_FALSE(fs::exists(root_ / "runs"));
}

TEST_F(Cli, NumbersAreTakenAsTheyAreOrNotAtAll) {
    const auto refused = [&](const Words& words, const std::string& got) {
        expect_refused(words, "as " + words.at(words.size() - 2) + ", got " + got);
    };
    refused({"train", "--epochs", "4611686018427387905"}, "4611686018427387905");
    refused({"train", "--epochs", "9223372036854775807"}, "9223372036854775807");
    refused({"train", "--seed", "-1"}, "-1");
    refused({"train", "--seed", "18446744073709551616"}, "'18446744073709551616'");
    for (const char* text : {"1e999", "0x1p3", "1e-3x", "1_000", "+1", " 1"})
        refused({"train", "--lr", text}, "'" + std::string(text) + "'");
    refused({"train", "--lr", "inf"}, "inf");
    refused({"train", "--threads", "3000"}, "3000");
    refused({"bench", "--threads", "1,3000"}, "3000");
    refused({"snr", "--threads", "3000"}, "3000");
    refused({"snr", "--tokens", "4294967296"}, "4294967296");
    refused({"snr", "--samples", "10000000000"}, "10000000000");
    refused({"compare", "--seeds", "100000000"}, "100000000");
    refused({"bench", "--rounds", "0"}, "0");
    refused({"bench", "--batch", "288230376151711744"}, "288230376151711744");
    refused({"cost", "--tokens", "100000000000"}, "100000000000");
    refused({"cost", "--model", "mlp", "--classes", "4611686018427387904"}, "4611686018427387904");
    refused({"cost", "--rank-x", "0"}, "0");
    expect_refused({"cost", "--model", "mlp", "--height", "16000", "--width", "16000"},
                   "channels * height * width");
    expect_refused({"train", "--lr", "1", "--lr", "2"}, "--lr");
}

TEST_F(Cli, ListsHaveNeitherHolesNorRepetitions) {
    expect_refused({"snr", "--epsilon", "0.9,,0.8"}, "--epsilon, got '0.9,,0.8'");
    expect_refused({"snr", "--oversample", "0,"}, "--oversample, got '0,'");
    expect_refused({"bench", "--ranks", ",8"}, "--ranks, got ',8'");
    expect_refused({"bench", "--ranks", "8,8"}, "--ranks has '8' twice");
    expect_refused({"bench", "--methods", "vanilla,vanilla"}, "--methods has 'vanilla' twice");
    expect_refused({"bench", "linear/tiny", "linear/tiny"}, "'linear/tiny' twice");
    expect_refused({"compare", "--methods", "vanilla,vanilla"}, "--methods has 'vanilla' twice");
    expect_refused({"compare", "--methods", "instant:epsilon=0.9:epsilon=0.8"}, "'epsilon' twice");
    expect_refused({"compare", "--methods", "instant:epsilom=0.9"}, "unknown option 'epsilom'");
    expect_refused({"compare", "--methods", "instant:oversample=1e3"},
                   "a whole number from 0 to 1000000 as oversample, got '1e3'");
}

TEST_F(Cli, ACodecIsAPartOfAMethod) {
    expect_refused({"train", "--method", "gact", "--bits", "3"}, "unknown --bits '3'. Known: 1,");
    expect_refused({"train", "--codec", "zip"}, "expected codec gact, or gact:LEVEL");
    expect_refused({"train", "--codec", "gact:L9"}, "unknown level 'L9'. Known: L1, L1.1");
    expect_refused({"train", "--method", "gact", "--codec", "gact"}, "has a codec already");
    expect_refused({"train", "--method", "gact", "--group-size", "12"}, "a multiple of 8, got 12");
    expect_refused({"compare", "--methods", "vanilla", "--codec", "gact"}, "METHOD+gact");
    expect_refused({"cost", "--codec", "gact:L9"}, "unknown level 'L9'");
    expect_refused({"cost", "--model", "tinyllama", "--whole-model"}, "known by its shapes alone");
    expect_refused({"eval", "--from", "nothing", "--codec", "gact"}, "codec");
}

TEST_F(Cli, WhatNoJsonCouldHoldIsRefused) {
    expect_refused({"train", "--out", "a\xff"}, "expected UTF-8 as --out");
    expect_refused({"compare", "--methods", "\xff"}, "expected UTF-8 as --methods");
    expect_refused({"report", "\xc3"}, "expected UTF-8 as runs");
    expect_refused({"train", "--model", "two\nlines"}, "two\\x0alines");
    expect_refused({"train", "--data", std::string(100'000, 'x')}, "xxx...'. Known: cifar10");
}

TEST_F(Cli, FilesOfOptionsArePickedApart) {
    const auto refused = [&](const std::string& text, const std::string& part) {
        std::ofstream(root_ / "c.json", std::ios::binary) << text;
        expect_refused({"train", "--config", "c.json"}, part);
    };
    refused(R"({"lr": 1, "lr": 2})", "'c.json' has the key 'lr' twice");
    refused(R"({"lr": 1e999})", "'c.json' has a number that is too large: '1e999'");
    refused(R"({"lr": 1e-400})", "'c.json' has a number that is too small: '1e-400'");
    refused(R"({"lr": -0.00e-9, "epochs": 0})", "as epochs, got 0");  // that is a zero
    refused(R"({"lr": )" + std::string(100'000, '['), "nested more than 64 levels deep");
    refused("{\"out\": \"\xff\"}", "not valid JSON: mistake at byte 10");
    refused(R"({"epochs": 9223372036854775808})",
            "c.json: expected a whole number from 1 to 1000000 as epochs, got 9223372036854775808");
    refused(R"({"lr": null})", "as lr, got 'null'");
    refused("", "not valid JSON");
    fs::create_directory(root_ / "directory");
    expect_refused({"train", "--config", "directory"}, "expected a file, got a directory");
    expect_refused({"train", "--config", "/dev/zero"}, "MiB");
}

TEST_F(Cli, ARecipeIsOverriddenByAFileAndThatByWhatIsGiven) {
    std::ofstream(root_ / "c.json") << R"({"clip": 2, "weight_decay": 0.5, "warmup": 1})";
    Words words = train({"--out", "run", "--recipe", "instant-vision", "--config", "c.json",
                         "--clip", "3", "--image-size", "0", "--epochs", "1"});
    const Result result = run(words);
    EXPECT_EQ(result.status, 0) << result.err;
    std::ifstream file(root_ / "run" / "config.json");
    const json config = json::parse(file);
    EXPECT_EQ(config.at("clip"), 3);
    EXPECT_EQ(config.at("weight_decay"), 0.5);
    EXPECT_EQ(config.at("lr"), 1e-4);
    EXPECT_EQ(config.at("min_lr_rate"), 0.01);
    EXPECT_FALSE(config.contains("recipe"));
    expect_refused({"train", "--recipe", "paper"}, "[train] unknown --recipe 'paper'");
}

TEST_F(Cli, OptionsThatDoNothingAreNamed) {
    const auto notes = [&](const Words& more, const std::string& command) {
        Words words = train({"--out", command, "--overwrite"}, command);
        words.insert(words.end(), more.begin(), more.end());
        const Result result = run(words);
        EXPECT_EQ(result.status, 0) << result.err;
        std::string found;
        std::istringstream lines(result.err);
        for (std::string line; std::getline(lines, line);)
            if (line.starts_with("note: ")) found += line.substr(6) + "\n";
        return found;
    };
    EXPECT_EQ(notes({"--quiet"}, "train"), "");
    EXPECT_EQ(notes({"--momentum", "0.5", "--rank-x", "3"}, "train"),
              "momentum has no effect: the optimizer is adamw\n"
              "rank_x has no effect: the method is vanilla\n");
    EXPECT_EQ(notes({"--momentum", "0.5", "--no-notes"}, "train"), "");
    EXPECT_EQ(notes({"--methods", "vanilla,instant:gamma=0.5", "--epsilon", "0.9", "--gamma", "2"},
                    "compare"),
              "instant:gamma=0.5: gamma has no effect: the schedule is cosine\n"
              "gamma has no effect: the schedule is cosine\n");
    // In a question asked by hand, an option without effect would make another answer of it.
    expect_refused({"snr", "--weight", "w.npy"}, "weight has no effect: the source is no array");
    expect_refused({"snr", "--lr", "1"}, "lr has no effect: it is for --sweep staleness");
    expect_refused({"snr", "--sweep", "offset", "--alpha", "2"}, "alpha has no effect");
    expect_refused({"snr", "--draws", "1"}, "from 2 to 1000 as --draws, got 1");
    const Result follows =
        run({"cost", "--model", "vit-micro", "--method", "sketch", "--tolerance", "0.1"});
    EXPECT_EQ(follows.status, 0);
    EXPECT_NE(follows.err.find("tolerance has no effect: such ranks follow gradients"),
              std::string::npos);
    const std::string help = run({"train", "--help"}).out;
    EXPECT_NE(help.find("are; true or false"), std::string::npos) << "weight_rows";
    expect_refused({"snr", "--sweep", "offset", "--epsilon", "0.8,0.9"}, "expected one --epsilon");
    expect_refused({"bench", "list", "--rounds", "2"}, "rounds is not for list");
    expect_refused({"bench", "memory", "--threads", "2"}, "threads is not for memory");
    const Result cost = run({"cost", "--rank-x", "8", "--classes", "3", "--json"});
    EXPECT_EQ(cost.status, 0);
    EXPECT_EQ(cost.err,
              "note: rank_x has no effect: the method is vanilla\n"
              "note: classes has no effect: an architecture has no classifier\n");
    EXPECT_TRUE(json::accept(cost.out));
}

TEST_F(Cli, BenchMeasuresNoRankUnderAnotherName) {
    expect_refused({"bench", "linear/tiny", "--ranks", "100000"},
                   "linear/tiny: expected a whole number from 1 to 8 as --ranks, got 100000");
    expect_refused({"bench", "memory", "step/tiny", "--rank-g", "9"}, "as --rank-g, got 9");
    expect_refused({"bench", "tab11", "--ranks", "8"}, "tab11/linears has ranks of its own");
    expect_refused({"bench", "--ranks", "8", "--rank-x", "4", "--rank-g", "4"}, "no effect");
    expect_refused({"bench", "step/tiny", "--layers"}, "--layers has no effect");
    const json document = run_json({"bench", "linear/tiny", "--methods", "instant", "--rounds", "1",
                                    "--warmup", "0", "--quiet", "--json"});
    EXPECT_EQ(document["rows"][0]["rank_x"], 8) << "16 by default, cut to the axis";
}

}  // namespace
}  // namespace cli_test
