// Runs whose steps are watched instead of calibrated beside: calibrate train, calibrate stream.
#include "train_fixture.h"

namespace slimgrad {
namespace {

class CalibrateRuns : public Train {
  protected:
    /// Instant in vit-micro for 11 steps of 8 samples.
    TrainConfig config(const std::string& name, const std::string& calibrate) const {
        TrainConfig c = small(name, "vit-micro");
        c.method = "instant";
        c.calibrate = calibrate;
        c.steps = 11;
        c.calibrate_every = 4;
        c.calibrate_batches = 2;
        return c;
    }
    std::vector<std::int64_t> calibrations(const std::string& name) const {
        std::vector<std::int64_t> steps;
        for (const json& line : metrics(name))
            if (line["type"] == "calibration") steps.push_back(line["step"]);
        return steps;
    }
};

using Steps = std::vector<std::int64_t>;

TEST_F(CalibrateRuns, TheirStepsAreFunctionsOfTheOptions) {
    for (const auto& [calibrate, steps] : {std::pair{"paper", Steps{0, 4, 8}},
                                           {"train", Steps{2, 6, 10}},
                                           {"stream", Steps{2, 4, 8}}}) {
        ASSERT_TRUE(run(config(calibrate, calibrate)));
        EXPECT_EQ(calibrations(calibrate), steps) << calibrate;
        EXPECT_EQ(summary(calibrate)["calibrations"], 3) << calibrate;
    }
    TrainConfig once = config("once", "train");
    once.calibrate_every = 0;
    ASSERT_TRUE(run(once));
    EXPECT_EQ(calibrations("once"), Steps{2});
}

TEST_F(CalibrateRuns, AStopAtAnyMomentEndsInTheSameBits) {
    for (const std::string calibrate : {"train", "stream"}) {
        ASSERT_TRUE(run(config(calibrate, calibrate)));
        for (const std::int64_t stop : {1, 2, 5, 9}) {
            const std::string name = fmt::format("{}-{}", calibrate, stop);
            ASSERT_FALSE(run(config(name, calibrate), stop));
            ASSERT_TRUE(Trainer(root_ / name, options()).run());
            EXPECT_EQ(weights(name), weights(calibrate)) << name;
            EXPECT_EQ(metrics(name), metrics(calibrate)) << name;
            for (const char* key : {"flops", "layers", "ranks"})
                EXPECT_EQ(summary(name)[key], summary(calibrate)[key]) << name << " " << key;
        }
    }
}

// Before the first subspaces are made every step is vanilla's: what is watched changes nothing.
TEST_F(CalibrateRuns, TheFirstStepsAreThoseOfVanilla) {
    TrainConfig vanilla = config("vanilla", "paper");
    vanilla.method = "vanilla";
    vanilla.steps = 4;
    ASSERT_TRUE(run(vanilla));
    const auto steps = [&](const std::string& name) {
        std::vector<json> lines;
        for (const json& line : metrics(name))
            if (line["type"] == "step") lines.push_back(line);
        return lines;
    };
    for (const std::string calibrate : {"train", "stream"}) {
        TrainConfig c = config(calibrate, calibrate);
        c.steps = 4;
        c.calibrate_batches = 3;
        ASSERT_TRUE(run(c));
        const std::vector<json> found = steps(calibrate), expected = steps("vanilla");
        for (std::size_t step = 0; step < 3; ++step) EXPECT_EQ(found[step], expected[step]);
        EXPECT_EQ(found[3]["loss"], expected[3]["loss"]) << "forward is exact";
        EXPECT_NE(found[3]["grad_norm"], expected[3]["grad_norm"]);
        const json flops = summary(calibrate)["flops"];
        const auto of = [](const json& counts, const char* key) {
            return counts[key].get<std::int64_t>();
        };
        const std::int64_t exact = of(summary("vanilla")["flops"], "backward_linear");
        EXPECT_GT(of(flops, "calibrate"), 0);
        EXPECT_GT(of(flops, "backward_linear"), exact / 4 * 3)
            << "the exact backward of steps that train is theirs";
        EXPECT_LT(of(flops, "backward_linear"), exact);
        EXPECT_EQ(of(flops, "backward_linear_with_calibration"),
                  of(flops, "backward_linear") + of(flops, "calibrate"));
    }
}

// Subspaces of the whole axis: nothing is lost, whatever they were made of.
TEST_F(CalibrateRuns, CalibrationsDisturbNothing) {
    TrainConfig vanilla = config("vanilla", "paper");
    vanilla.method = "vanilla";
    ASSERT_TRUE(run(vanilla));
    for (const std::string calibrate : {"train", "stream"}) {
        TrainConfig c = config(calibrate, calibrate);
        c.rank_x = c.rank_g = 1'000'000;
        c.break_even = "vanilla";
        ASSERT_TRUE(run(c));
        EXPECT_EQ(weights(calibrate), weights("vanilla"));
    }
}

TEST_F(CalibrateRuns, WhatRunsForCalibrationAloneIsLess) {
    std::map<std::string, json> flops;
    for (const std::string calibrate : {"paper", "train", "stream"}) {
        ASSERT_TRUE(run(config(calibrate, calibrate)));
        flops[calibrate] = summary(calibrate)["flops"];
    }
    const auto of = [&](const char* calibrate, const char* key) {
        return flops.at(calibrate).at(key).get<std::int64_t>();
    };
    for (const char* calibrate : {"train", "stream"})
        EXPECT_LT(2 * of(calibrate, "calibrate"), of("paper", "calibrate")) << "no passes";
    const char* all = "backward_linear_with_calibration";
    EXPECT_LT(of("train", all), of("paper", all));
    EXPECT_LT(of("stream", all), of("train", all)) << "two exact steps, not six";
}

// Weights of rows and random directions are functions of the checkpoint and the step.
TEST_F(CalibrateRuns, OptionsOfTheSlotsComeBackToo) {
    const auto with_options = [&](const std::string& name) {
        TrainConfig c = config(name, "stream");
        c.side = "token";
        set_option(c, "weight_rows", "true", "[test]");
        set_option(c, "complement", "2", "[test]");
        return c;
    };
    ASSERT_TRUE(run(with_options("straight")));
    ASSERT_TRUE(run(config("plain", "stream")));
    EXPECT_NE(weights("straight"), weights("plain"));
    for (const std::int64_t stop : {1, 6}) {
        const std::string name = fmt::format("stopped-{}", stop);
        ASSERT_FALSE(run(with_options(name), stop));
        ASSERT_TRUE(Trainer(root_ / name, options()).run());
        EXPECT_EQ(weights(name), weights("straight"));
    }
    const json written = read_json(root_ / "straight" / "config.json");
    EXPECT_EQ(written["weight_rows"], true);
    EXPECT_EQ(written["complement"], 2);
    EXPECT_EQ(written["calibrate"], "stream");
}

TEST_F(CalibrateRuns, ARunThatEndsBeforeTheFirstSubspacesIsRefused) {
    for (const std::string calibrate : {"train", "stream"}) {
        TrainConfig c = config(calibrate, calibrate);
        c.steps = c.calibrate_batches;
        EXPECT_NE(message([&] { run(c); }).find("leaves the first 2 steps exact"),
                  std::string::npos);
        EXPECT_FALSE(std::filesystem::exists(root_ / calibrate / "config.json"));
        c.method = "vanilla";
        EXPECT_TRUE(run(c));
    }
}

TEST_F(CalibrateRuns, WhatCannotBeIsRefused) {
    TrainConfig c = config("bad", "train");
    c.calibrate_batches = 4;
    EXPECT_EQ(message([&] { validate(c); }),
              "[config] calibrate train makes 4 steps exact (calibrate_batches), expected fewer "
              "than calibrate_every 4");
    c.calibrate_every = 0;
    EXPECT_EQ(message([&] { validate(c); }), "no error");
    c.calibrate = "stream";
    EXPECT_TRUE(has(message([&] { validate(c); }), "needs a calibrate_every above 0"));
    c.calibrate = "never";
    EXPECT_TRUE(has(message([&] { validate(c); }), "paper, train, stream"));
    c = config("bad", "train");
    EXPECT_EQ(without_effect(c, {"calibrate_split", "calibrate_keep", "calibrate"}),
              (std::vector<std::string>{"calibrate_split has no effect: calibrate is train",
                                        "calibrate_keep has no effect: calibrate is train"}));
}

}  // namespace
}  // namespace slimgrad
