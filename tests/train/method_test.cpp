// What the method's options do to a run: when it calibrates, what it logs of it, and what no
// calibration may change.
#include <algorithm>

#include "train_fixture.h"

namespace slimgrad {
namespace {

class MethodRuns : public Train {
  protected:
    /// A run of `small` with the method's options changed by `change`.
    template <class Change>
    void run_with(const std::string& name, const std::string& model, Change change) const {
        TrainConfig config = small(name, model);
        config.steps = 7;
        config.calibrate_batches = 2;
        change(config);
        ASSERT_TRUE(run(config)) << name;
    }
    std::vector<json> lines(const std::string& name, const std::string& type) const {
        std::vector<json> chosen;
        for (const json& line : metrics(name))
            if (line["type"] == type) chosen.push_back(line);
        return chosen;
    }
    std::vector<std::string> batches(const std::string& name) const {
        std::vector<std::string> digests;
        for (const json& line : lines(name, "step")) digests.push_back(line["batch"]);
        return digests;
    }
};

TEST_F(MethodRuns, CalibrateEveryZeroIsOnceBeforeTraining) {
    const auto once = [](TrainConfig& c) {
        c.method = "instant";
        c.calibrate_every = 0;
    };
    run_with("zero", "vit-micro", once);
    run_with("rarely", "vit-micro", [&](TrainConfig& c) {
        once(c);
        c.calibrate_every = 1'000'000;
    });
    EXPECT_EQ(weights("zero"), weights("rarely"));
    EXPECT_EQ(summary("zero")["calibrations"], 1);

    TrainConfig config = small("stopped", "vit-micro");
    config.steps = 7;
    config.calibrate_batches = 2;
    once(config);
    ASSERT_FALSE(run(config, 3));
    ASSERT_TRUE(Trainer(root_ / "stopped", options()).run());
    EXPECT_EQ(weights("stopped"), weights("zero"));
    EXPECT_EQ(summary("stopped")["layers"], summary("zero")["layers"]);
    config.calibrate_every = -1;
    EXPECT_TRUE(has(message([&] { validate(config); }), "as calibrate_every, got -1"));
}

TEST_F(MethodRuns, EveryMethodAndEveryCalibrationSeesTheSameBatches) {
    run_with("vanilla", "vit-micro", [](TrainConfig&) {});
    const std::vector<std::string> expected = batches("vanilla");
    EXPECT_EQ(expected.size(), 7u);
    EXPECT_NE(expected[0], expected[1]);
    struct Schedule {
        int every, split, batches;
    };
    for (const Schedule& s : {Schedule{3, 1, 2}, Schedule{2, 4, 3}, Schedule{0, 8, 1}}) {
        const std::string name = fmt::format("instant{}", s.every);
        run_with(name, "vit-micro", [&](TrainConfig& c) {
            c.method = "instant";
            c.calibrate_every = s.every;
            c.calibrate_split = s.split;
            c.calibrate_batches = s.batches;
        });
        EXPECT_EQ(batches(name), expected) << name;
    }
    run_with("other", "vit-micro", [](TrainConfig& c) { c.seed = 1; });
    EXPECT_NE(batches("other")[0], expected[0]);
}

/// Sets an option if the method has it.
void set_own(TrainConfig& config, const std::string& name, std::int64_t value) {
    for (const Option& option : find_method(config.method).options)
        if (option.name == name) config.own.set("[test]", option, value);
}

// Whatever a method keeps between steps, a checkpoint has it: projections, bases, adapters.
TEST_F(MethodRuns, EveryMethodGoesOnToTheSameBitsAlsoInTheLastBlockAlone) {
    std::vector<std::string> names = method_names();
    for (const char* part : {"lora", "galore"})
        if (std::ranges::count(names, part)) names.push_back(part + std::string("+instant"));
    for (const std::string& name : names)
        for (const std::string blocks : {"all", "last:1"}) {
            SCOPED_TRACE(fmt::format("{} {}", name, blocks));
            TrainConfig config =
                small(fmt::format("{}-{}", name, blocks.substr(0, 4)), "vit-micro");
            config.method = name;
            config.train_blocks = blocks;
            config.steps = 5;
            config.calibrate_every = 2;
            config.calibrate_batches = 1;
            set_own(config, "rank", 3);
            set_own(config, "redraw_every", 2);
            ASSERT_TRUE(run(config));
            const std::string straight = config.out;
            config.out += "-stopped";
            ASSERT_FALSE(run(config, 3));
            ASSERT_TRUE(Trainer(fs::path(config.out), options()).run());
            EXPECT_EQ(text_of(fs::path(config.out) / "model.safetensors"),
                      text_of(fs::path(straight) / "model.safetensors"));
            const json a = read_json(fs::path(straight) / "summary.json"),
                       b = read_json(fs::path(config.out) / "summary.json");
            for (const char* key : {"flops", "layers", "accuracy", "ranks", "epochs"})
                EXPECT_EQ(a.at(key), b.at(key)) << key;
        }
}

// Ranks of the full length lie beyond break-even everywhere: the runs calibrate, and then nothing
// is compressed. So whatever a calibration disturbed (batches, dropout masks, running statistics,
// weights) would show.
TEST_F(MethodRuns, CalibrationsDisturbNothing) {
    for (const std::string model : {"vit-micro", "resnet20"}) {
        run_with(model + "-vanilla", model, [](TrainConfig&) {});
        for (const int split : {1, 3}) {
            const std::string name = fmt::format("{}-{}", model, split);
            run_with(name, model, [&](TrainConfig& c) {
                c.method = "instant";
                c.rank_x = c.rank_g = 1'000'000;
                c.break_even = "vanilla";
                c.calibrate_every = 3;
                c.calibrate_split = split;
                c.calibrate_batches = split;
            });
            EXPECT_EQ(weights(name), weights(model + "-vanilla")) << name;
            EXPECT_EQ(summary(name)["bytes"]["projectors"],
                      summary(model + "-vanilla")["bytes"]["projectors"]);
        }
    }
    EXPECT_EQ(summary("vit-micro-1")["calibrations"], 3);
    const json layer = summary("vit-micro-1")["layers"][1];
    EXPECT_EQ(layer["rank_x"], nullptr);
    EXPECT_EQ(layer["left_vanilla_x"], layer["L"]);
    EXPECT_EQ(layer["calibrations_left_vanilla_g"], 3);
    EXPECT_TRUE(has(layer["note"], "x left vanilla: rank 49")) << layer["note"];
    EXPECT_FALSE(layer.contains("mean_rank_x"));
}

TEST_F(MethodRuns, BreakEvenIsReportedForEverySlotWhateverTheMethod) {
    run_with("vanilla", "vit-micro", [](TrainConfig& c) { c.steps = 1; });
    run_with("instant", "vit-micro", [](TrainConfig& c) {
        c.steps = 1;
        c.method = "instant";
    });
    const json a = summary("vanilla")["layers"], b = summary("instant")["layers"];
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i)
        for (const char* key : {"break_even_x", "break_even_g"})
            EXPECT_EQ(a[i][key], b[i][key]) << a[i]["name"] << key;
    EXPECT_TRUE(a[0]["break_even_g"].is_null()) << "nothing below patch_embed needs a gradient";
    EXPECT_GT(a[1]["break_even_g"], 1);
    EXPECT_TRUE(a.back()["break_even_x"].is_null()) << "the head has no token axis";
}

TEST_F(MethodRuns, TheRanksOfEveryCalibrationAreLogged) {
    run_with("run", "vit-micro", [](TrainConfig& c) {
        c.method = "instant";
        c.calibrate_every = 3;
        c.side = "token";
        c.side_g = "channel";
    });
    const std::vector<json> calibrations = lines("run", "calibration");
    ASSERT_EQ(calibrations.size(), 3u);
    EXPECT_EQ(calibrations[2]["step"], 6);
    std::int64_t least = 1000, most = 0;
    for (const json& line : calibrations) {
        const json& layer = line["layers"][1];
        EXPECT_EQ(layer["name"], "blocks.0.attention.qkv");
        EXPECT_EQ(layer["side_x"], "token");
        EXPECT_EQ(layer["side_g"], "channel");
        EXPECT_EQ(layer["dim_x"], 49);
        EXPECT_EQ(layer["dim_g"], 3 * 96);
        for (const char* share : {"energy_x", "signal_x", "energy_g", "signal_g"}) {
            EXPECT_GT(layer[share], 0) << share;
            EXPECT_LE(layer[share], 1 + 1e-12) << share;
        }
        EXPECT_GE(layer["energy_x"], 0.95);
        least = std::min(least, layer["rank_x"].get<std::int64_t>());
        most = std::max(most, layer["rank_x"].get<std::int64_t>());
    }
    const json layer = summary("run")["layers"][1];
    EXPECT_EQ(layer["min_rank_x"], least);
    EXPECT_EQ(layer["max_rank_x"], most);
    EXPECT_EQ(layer["rank_x"], calibrations[2]["layers"][1]["rank_x"]);
    EXPECT_EQ(layer["energy_g"], calibrations[2]["layers"][1]["energy_g"]);
}

TEST_F(MethodRuns, RanksThatNoCalibrationChoosesAreReportedToo) {
    const auto run = [&](const std::string& method, const std::string& model) {
        run_with(method, model, [&](TrainConfig& c) {
            c.steps = 1;
            c.method = method;
            c.own.set("test", method_option("rank"), std::int64_t{60});
            c.side = "token";
        });
        return summary(method);
    };
    const json random = run("random", "vit-micro");
    const json& below = random["layers"][0];
    EXPECT_EQ(below["rank_x"], 49);
    EXPECT_EQ(below["side_x"], "token");
    EXPECT_TRUE(below["rank_g"].is_null()) << "nothing below it needs a gradient";
    EXPECT_EQ(random["layers"][1]["rank_g"], 49);
    EXPECT_EQ(random["ranks"]["mean_x"], 49);
    EXPECT_TRUE(random["layers"].back()["rank_x"].is_null()) << "the head has no token axis";
}

// In float the sums differ in their last bits with the split; the ranks must not.
TEST_F(MethodRuns, TheSplitOfACalibrationDoesNotChangeTheRanks) {
    for (const int split : {1, 2, 4})
        run_with(fmt::format("split{}", split), "vit-micro", [&](TrainConfig& c) {
            c.steps = 1;
            c.method = "instant";
            c.calibrate_split = split;
        });
    const json expected = lines("split1", "calibration").at(0)["layers"];
    for (const char* name : {"split2", "split4"}) {
        const json layers = lines(name, "calibration").at(0)["layers"];
        for (std::size_t i = 0; i < layers.size(); ++i)
            for (const char* key : {"rank_x", "rank_g"}) {
                if (!expected[i].contains(key)) continue;
                EXPECT_EQ(layers[i][key], expected[i][key]) << layers[i]["name"] << name;
            }
    }
}

TEST_F(MethodRuns, WhatAMethodCannotTakeIsSaidBeforeAnOlderRunGoes) {
    TrainConfig config = small("run", "vit-micro");
    ASSERT_TRUE(run(config));
    const std::string weights_before = weights("run");
    config.method = "lbp-wht";
    set_option(config, "grid", "4x4", "[test]");
    TrainerOptions overwrite = options();
    overwrite.overwrite = true;
    EXPECT_TRUE(has(message([&] { Trainer(config, overwrite); }), "the grid has 4x4 tokens"));
    EXPECT_EQ(weights("run"), weights_before);
    EXPECT_EQ(summary("run")["method"], "vanilla");
}

TEST_F(MethodRuns, UnknownWordsAreErrors) {
    const auto with = [&](auto change) {
        TrainConfig config = small("bad", "mlp");
        change(config);
        return message([&] { Trainer(config, options()); });
    };
    using C = TrainConfig;
    EXPECT_TRUE(has(with([](C& c) { c.side_x = "left"; }), "token, channel, auto"));
    EXPECT_TRUE(has(with([](C& c) { c.side_g = "up"; }), "token, channel, auto"));
    EXPECT_TRUE(has(with([](C& c) { c.side = "up", c.side_x = c.side_g = "token"; }), "'up'"));
    EXPECT_TRUE(has(with([](C& c) { c.break_even = "exact"; }), "report, vanilla"));
}

}  // namespace
}  // namespace slimgrad
