// GACT in a run: options, bits that are chosen on the way, resuming, and what cost says of it.
#include <algorithm>
#include <set>

#include "instant/methods/gact.h"
#include "train/comparison.h"
#include "train/cost_document.h"
#include "train/method_spec.h"
#include "train/training_steps.h"
#include "train_fixture.h"

namespace slimgrad {
namespace {

class GactRuns : public Train {
  protected:
    TrainConfig gact(const std::string& name, const std::string& method = "gact") const {
        TrainConfig config = small(name, "vit-micro");
        config.method = method;
        config.steps = 5;
        config.calibrate_every = 3;
        config.calibrate_batches = 1;
        return config;
    }
    static void set(TrainConfig& config, const std::string& option, const std::string& value) {
        config.own.set("[test]", method_option(option), value);
    }
    std::vector<json> lines(const std::string& name, const std::string& type) const {
        std::vector<json> chosen;
        for (const json& line : metrics(name))
            if (line["type"] == type) chosen.push_back(line);
        return chosen;
    }
};

TEST_F(GactRuns, TheCodecWordIsThePartOfAMethod) {
    TrainConfig config = gact("word", "vanilla");
    config.codec = "gact:L1.2";
    ASSERT_TRUE(run(spelled_out(config, "[test]")));
    TrainConfig named = gact("named");
    set(named, "level", "L1.2");
    ASSERT_TRUE(run(named));
    EXPECT_EQ(weights("word"), weights("named"));
    EXPECT_EQ(summary("word")["method"], "gact");
    EXPECT_EQ(summary("word")["config"]["level"], "L1.2");
    EXPECT_FALSE(summary("word")["config"].contains("codec"));

    EXPECT_EQ(config_from_json({{"method", "instant"}, {"codec", "gact"}}, "x").method,
              "instant+gact");
    EXPECT_TRUE(has(message([] {
                        config_from_json({{"level", "L1"}, {"codec", "gact:L2"}}, "x");
                    }),
                    "expected one level, got codec 'gact:L2' and level L1"));
    ComparisonOptions comparison;
    comparison.methods = {"vanilla"};
    comparison.base = config_from_json({{"codec", "gact"}}, "x");
    EXPECT_TRUE(has(message([&] {
                        compare(
                            comparison, [](const ComparedRun&) { return true; },
                            [](const std::string&) {});
                    }),
                    "[compare] a codec is a part of each method"));
    EXPECT_EQ(with_method(TrainConfig{}, "sketch:codec=gact:L2:rank=4").config.method,
              "sketch+gact");
    EXPECT_EQ(config_from_json({{"method", "gact"}, {"bits", 2}}, "x")
                  .own.get<std::string>(bits_option()),
              "2")
        << "a number is as good as its word";
    EXPECT_TRUE(has(message([] {
                        config_from_json({{"method", "gact"}, {"bits", 3}}, "x");
                    }),
                    "unknown bits '3'. Known: 1, 2, 4, 8, 32"));
    EXPECT_TRUE(has(message([] {
                        config_from_json({{"codec", "zip"}}, "x");
                    }),
                    "expected codec gact, or gact:LEVEL"));
    EXPECT_TRUE(has(message([] {
                        config_from_json({{"method", "gact"}, {"codec", "gact"}}, "x");
                    }),
                    "has a codec already"));
}

TEST_F(GactRuns, ItKeepsLessAndTheSameBatches) {
    TrainConfig vanilla = gact("vanilla", "vanilla");
    ASSERT_TRUE(run(vanilla));
    ASSERT_TRUE(run(gact("gact")));
    TrainConfig two = gact("two");
    set(two, "bits", "2");
    ASSERT_TRUE(run(two));
    const auto saved = [&](const char* name) {
        return summary(name)["bytes"]["saved_per_sample"].get<double>();
    };
    EXPECT_GT(saved("vanilla") / saved("gact"), 5);
    EXPECT_GT(saved("vanilla") / saved("two"), 8);
    EXPECT_EQ(lines("vanilla", "step")[0]["loss"], lines("gact", "step")[0]["loss"])
        << "forward is exact";
    for (std::size_t i = 0; i < 5; ++i)
        EXPECT_EQ(lines("vanilla", "step")[i]["batch"], lines("gact", "step")[i]["batch"]);
    EXPECT_NE(weights("vanilla"), weights("gact"));
    EXPECT_GT(summary("gact")["flops"]["compress"], 0);
}

TEST_F(GactRuns, ARunIsWhatItsCostSays) {
    for (const std::string method :
         {"gact", "instant+gact", "sketch+gact", "galore+gact", "compact+gact"}) {
        SCOPED_TRACE(method);
        TrainConfig config = gact("run-" + method, method);
        set_rank(config, 3);
        config.rank_x = config.rank_g = 3;
        config.augment = false;
        config.dropout = 0;  // a model of `cost` keeps no masks
        ASSERT_TRUE(run(config));
        CostOptions cost;
        static_cast<MethodOptions&>(cost) = config.method_options();
        cost.model = "vit-micro";
        cost.channels = 1;
        cost.height = cost.width = 28;
        cost.whole_model = true;
        const json document = cost_document(cost);
        const json of_run = summary("run-" + method)["bytes"];
        EXPECT_EQ(document["whole_model"]["saved_bytes"], of_run["saved_per_sample"]);
        EXPECT_EQ(document["executed"]["saved_bytes"], of_run["saved_per_sample_linear"]);
        EXPECT_GT(document["whole_model"]["times_less"]["saved_bytes"], 3);
    }
}

TEST_F(GactRuns, BitsAreChosenOnScheduleAndDisturbNothing) {
    TrainConfig config = gact("automatic");
    set(config, "level", "L2");
    config.own.set("[test]", adapt_every_option(), std::int64_t{2});
    ASSERT_TRUE(run(config));
    const std::vector<json> chosen = lines("automatic", "bits");
    ASSERT_EQ(chosen.size(), 3u) << "before steps 0, 2 and 4";
    EXPECT_EQ(chosen[1]["step"], 2);
    double held = 0, elements = 0;
    std::set<int> bits;
    for (const json& value : chosen[0]["values"]) {
        held += value["elements"].get<double>() * value["bits"].get<double>();
        elements += value["elements"].get<double>();
        bits.insert(value["bits"].get<int>());
        EXPECT_GE(value["sensitivity"], 0);
    }
    EXPECT_LE(held / elements, 4);
    EXPECT_GT(held / elements, 2.5);
    EXPECT_GT(bits.size(), 1u);
    EXPECT_EQ(summary("automatic")["bits"]["choices"], 3);
    EXPECT_GT(summary("automatic")["flops"]["calibrate"], 0);
    EXPECT_GT(summary("automatic")["seconds"]["calibrate"], 0);
}

// Steps that are given the bits, instead of choosing them, are the same: nothing else has moved.
TEST_F(GactRuns, AChoiceOfBitsMovesNothingElse) {
    for (const std::string sensitivity : {"calls", "passes"}) {
        SCOPED_TRACE(sensitivity);
        TrainConfig config = gact("chosen-" + sensitivity, "sketch+gact");
        set(config, "level", "L2");
        set(config, "sensitivity", sensitivity);
        config.own.set("[test]", method_option("tolerance"), 0.1);
        config.own.set("[test]", adapt_every_option(), std::int64_t{2});
        ASSERT_TRUE(run(config));
        const std::vector<json> chosen = lines("chosen-" + sensitivity, "bits");
        const std::vector<json> steps = lines("chosen-" + sensitivity, "step");
        ASSERT_EQ(steps.size(), 5u);

        const TrainConfig complete = resolved(config);
        const std::unique_ptr<Task> task = open_task(complete);
        TrainingSteps given(complete, *task);
        for (std::int64_t step = 0; step < 5; ++step) {
            const auto i = static_cast<std::size_t>(step);
            if (step % 2 == 0) {
                std::map<std::string, int> bits;
                for (const json& value : chosen[i / 2]["values"])
                    bits[value["name"].get<std::string>()] = value["bits"].get<int>();
                given.set_bits(bits);
            }
            given.watch(step);
            Tape tape(given.tape_options(step));
            const Var loss = given.loss_of(tape, given.data().batch(step));
            EXPECT_EQ(steps[i]["loss"], double{loss.value().item()}) << step;
            tape.backward(loss);
            given.update(step);
        }
    }
}

// A stop may come between a calibration and its step, or in the middle of a choice of bits.
TEST_F(GactRuns, ARunStoppedInAChoiceOfBitsGoesOnToTheSameBits) {
    for (const std::string method : {"instant+gact", "sketch+gact"}) {
        SCOPED_TRACE(method);
        TrainConfig config = gact("whole-" + method, method);
        set(config, "level", "L2.1");
        if (method == "sketch+gact") config.own.set("[test]", method_option("tolerance"), 0.1);
        config.own.set("[test]", adapt_every_option(), std::int64_t{3});
        ASSERT_TRUE(run(config));
        const std::string straight = "whole-" + method;
        config.out += "-stopped";
        const std::string stopped = straight + "-stopped";
        TrainerOptions some = options();
        int asked = 0;  // more often than a calibration asks
        some.stop = [&](std::int64_t step) { return step == 3 && ++asked > 25; };
        ASSERT_FALSE(Trainer(config, some).run());
        ASSERT_EQ(lines(stopped, "bits").size(), 1u) << "stopped in the second choice";
        ASSERT_TRUE(Trainer(fs::path(config.out), options()).run());
        EXPECT_EQ(weights(stopped), weights(straight));
        EXPECT_EQ(lines(stopped, "calibration"), lines(straight, "calibration"));
        EXPECT_EQ(lines(stopped, "bits"), lines(straight, "bits"));
        EXPECT_EQ(summary(stopped)["flops"]["total"], summary(straight)["flops"]["total"]);
    }
}

TEST_F(GactRuns, ARunWithItsOwnBitsGoesOnToTheSameBits) {
    for (const std::string method : {"gact", "instant+gact", "sketch+gact"})
        for (const std::string sensitivity : {"calls", "passes"}) {
            if (sensitivity == "passes" && method != "gact") continue;
            SCOPED_TRACE(method + " " + sensitivity);
            TrainConfig config = gact(method + sensitivity, method);
            set(config, "level", "L2.1");
            set(config, "sensitivity", sensitivity);
            if (method == "sketch+gact") config.own.set("[test]", method_option("tolerance"), 0.1);
            config.own.set("[test]", adapt_every_option(), std::int64_t{2});
            ASSERT_TRUE(run(config));
            const std::string straight = config.out;
            config.out += "-stopped";
            ASSERT_FALSE(run(config, 3));
            ASSERT_TRUE(Trainer(fs::path(config.out), options()).run());
            EXPECT_EQ(text_of(fs::path(config.out) / "model.safetensors"),
                      text_of(fs::path(straight) / "model.safetensors"));
        }
}

TEST_F(GactRuns, CheaperActivationsTrain) {
    TrainConfig config = gact("cheap");
    set(config, "gelu_bits", "2");
    set(config, "norm_keeps", "output");
    ASSERT_TRUE(run(config));
    ASSERT_TRUE(run(gact("usual")));
    EXPECT_LT(summary("cheap")["bytes"]["saved_per_sample"],
              summary("usual")["bytes"]["saved_per_sample"]);
    EXPECT_NEAR(lines("cheap", "step")[4]["loss"].get<double>(),
                lines("usual", "step")[4]["loss"].get<double>(), 0.3);
}

TEST_F(GactRuns, ADivergedRunNamesItsLayerOrItsStep) {
    TrainConfig config = gact("diverged");
    config.lr = 1e30;
    config.warmup = 0;
    config.clip = 0;
    const std::string said = message([&] { run(config); });
    const bool layer = said.rfind("[blocks.", 0) == 0 && has(said, "is not finite");
    EXPECT_TRUE(layer || said.rfind("[train] step ", 0) == 0) << said;
    EXPECT_FALSE(has(said, "\n"));
}

TEST(CostDocument, AWholeModelOfTexts) {
    CostOptions options;
    options.model = "bert-tiny";
    options.tokens = 16;
    options.batch = 4;
    options.codec = "gact";
    options.whole_model = true;
    const json document = cost_document(options);
    EXPECT_EQ(document["method"], "gact");
    const json& whole = document["whole_model"];
    EXPECT_GT(whole["times_less"]["saved_bytes"], 4);
    EXPECT_GT(whole["holders"].size(), 10u);
    double sum = 0;
    for (const json& holder : whole["holders"]) sum += holder["saved_bytes"].get<double>();
    EXPECT_NEAR(sum, whole["saved_bytes"].get<double>(), 1e-6 * sum);
    options.model = "tinyllama";
    options.tokens = 0;
    EXPECT_TRUE(has(message([&] { cost_document(options); }), "tinyllama")) << "known by its shapes";
}

}  // namespace
}  // namespace slimgrad
