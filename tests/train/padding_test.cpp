// Texts of every length: --pad batch. Which methods take them, what a run counts of them, and that
// nothing else of a run changes.
#include <cmath>
#include <map>
#include <set>

#include "data/shipped.h"
#include "data/text_loader.h"
#include "instant/cost/cost_model.h"
#include "train/comparison.h"
#include "train/evaluate.h"
#include "train/method_spec.h"
#include "train/task.h"
#include "train_fixture.h"

namespace slimgrad {
namespace {

class PaddedRun : public Train {
  protected:
    TrainConfig padded(const std::string& name, const std::string& spec = "vanilla") const {
        TrainConfig config = texts(name);
        config.max_length = 96;
        config.pad = "batch";
        config.steps = 7;
        return with_method(config, spec).config;
    }
    static std::int64_t length_of(const Task& task, std::int64_t step) {
        return task.train().batch(step).tokens.length;
    }
    std::vector<double> losses(const std::string& name) const {
        std::vector<double> all;
        for (const json& line : metrics(name))
            if (line["type"] == "step") all.push_back(line["loss"]);
        return all;
    }
};

TEST_F(PaddedRun, EveryMethodTrainsOrIsRefusedInOneLine) {
    const std::map<std::string, std::string> refused{
        {"compress-x", "'compress-x' calibrates projectors along the tokens of x. Hint: side"},
        {"compress-gy", "'compress-gy' calibrates projectors along the tokens of g_y. Hint: side"},
        {"instant", "calibrates projectors along the tokens of x and g_y. Hint: side channel, or"},
        {"lora+instant", "'lora+instant' calibrates projectors along the tokens of x and g_y"},
        {"espace", "calibrates projectors along the tokens of x. Hint: side channel, or pad fixed"},
        {"lbp-wht", "'lbp-wht' cuts the tokens into patches of one grid. Hint: pad fixed"},
        {"gradient-filter", "cuts the tokens into patches of one grid. Hint: pad fixed"},
    };
    std::vector<std::string> names = method_names();
    names.emplace_back("lora+instant");
    names.emplace_back("lora+sketch");
    for (const std::string& name : names) {
        SCOPED_TRACE(name);
        TrainConfig config = padded("run-" + name, name);
        config.steps = 2;
        const std::string said = message([&] { run(config); });
        const auto expected = refused.find(name);
        if (expected == refused.end()) {
            EXPECT_EQ(said, "no error");
            EXPECT_TRUE(fs::exists(fs::path(config.out) / "summary.json"));
            continue;
        }
        EXPECT_TRUE(has(said, "each batch has a length of its own, and method '")) << said;
        EXPECT_TRUE(has(said, expected->second)) << said;
        EXPECT_FALSE(has(said, "\n")) << said;
        EXPECT_FALSE(fs::exists(config.out));
        if (has(expected->second, "grid")) continue;
        config.side = "channel";
        EXPECT_EQ(message([&] { run(config); }), "no error");
        EXPECT_TRUE(fs::exists(fs::path(config.out) / "summary.json"));
    }
}

TEST_F(PaddedRun, OneSideAlongTheTokensIsEnoughToBeRefused) {
    const auto said = [&](const std::string& spec) {
        return message([&] { validate(padded("run", spec)); });
    };
    EXPECT_EQ(said("instant:side=channel"), "no error");
    EXPECT_EQ(said("instant:side-x=channel:side-g=channel"), "no error");
    EXPECT_EQ(said("compress-x:side-x=channel"), "no error");
    EXPECT_TRUE(has(said("instant:side=channel:side-g=token"), "along the tokens of g_y"));
    EXPECT_TRUE(has(said("instant:side=channel:side-x=auto"), "along the tokens of x."));
    EXPECT_TRUE(has(said("lbp-wht:grid=8x8"), "patches"));
    TrainConfig images = small("images", "mlp");
    images.pad = "batch";
    EXPECT_EQ(message([&] { validate(images); }),
              "[config] pad is for texts, data 'embedded-images' are images");
}

/// Which method, and how set.
class CountsOfPaddedRuns : public PaddedRun, public ::testing::WithParamInterface<const char*> {};

TEST_P(CountsOfPaddedRuns, AreTheClosedFormsOfTheBatchesAsTheyCame) {
    const TrainConfig config = padded("run", GetParam());
    ASSERT_TRUE(run(config));
    const json summary = this->summary("run");

    const std::unique_ptr<Task> task = open_task(config);
    const std::unique_ptr<Module> model = model_to_train(*task, config);
    std::map<std::string, LinearCost> expected;
    std::set<std::int64_t> lengths;
    std::int64_t tokens = 0, samples = 0, padding = 0;
    for (std::int64_t step = 0; step < config.steps; ++step) {
        const Batch batch = task->train().batch(step);
        const auto shapes = trace_linear_maps(*model, [&] {
            Tape tape;
            logits(*model, tape, batch.part(0, 1));
        });
        const ModelCost cost = model_cost(shapes, compressions_of(shapes, config.method_options()),
                                          batch.size(), Convention::executed);
        for (const ModelCost::Row& row : cost.rows) expected[row.layer.name] += row.cost;
        lengths.insert(batch.tokens.length);
        samples += batch.size();
        tokens += batch.size() * batch.tokens.length;
        padding += batch.tokens.padding();
    }
    ASSERT_GT(lengths.size(), 2u) << "the test needs batches of several lengths";

    std::int64_t saved = 0;
    for (const json& layer : summary["layers"]) {
        const std::string name = layer["name"];
        SCOPED_TRACE(name);
        const LinearCost& cost = expected[name];
        EXPECT_EQ(layer["flops"]["forward"], std::int64_t{cost.forward});
        EXPECT_EQ(layer["flops"]["compress"], std::int64_t{cost.compress});
        EXPECT_EQ(layer["flops"]["g_w"], std::int64_t{cost.g_w});
        EXPECT_EQ(layer["flops"]["g_x"], std::int64_t{cost.g_x});
        EXPECT_DOUBLE_EQ(layer["saved_per_sample"].get<double>() * double(samples),
                         double(std::int64_t{cost.saved_bytes}));
        saved += cost.saved_bytes;
        if (layer["L"] != 1) {
            EXPECT_EQ(layer["L"], std::llround(double(tokens) / double(samples)));
        }
    }
    EXPECT_DOUBLE_EQ(summary["bytes"]["saved_per_sample_linear"].get<double>() * double(samples),
                     double(saved));
    EXPECT_EQ(summary["samples"], samples);
    EXPECT_DOUBLE_EQ(summary["tokens"]["per_sample"], double(tokens) / double(samples));
    EXPECT_DOUBLE_EQ(summary["tokens"]["padding_per_sample"], double(padding) / double(samples));
}

INSTANTIATE_TEST_SUITE_P(
    Methods, CountsOfPaddedRuns,
    ::testing::Values("vanilla", "galore:rank=4", "lora:rank=4", "compact:rank=4",
                      "random:rank=4:side=token", "random:ratio=4:side=channel", "sketch:rank=4",
                      "sketch:rank=4:side=channel:keep-x=8", "sketch:rank=16:break-even=vanilla",
                      "espace:rank=4:side=channel", "instant:rank-x=4:rank-g=4:side=channel"));

TEST_F(PaddedRun, AnInterruptedRunEndsInTheSameBits) {
    for (const std::string method : {"vanilla", "random", "sketch", "instant"}) {
        SCOPED_TRACE(method);
        const std::string spec = method == "sketch"    ? "sketch:tolerance=0.1"
                                 : method == "instant" ? "instant:side=channel"
                                                       : method;
        TrainConfig config = padded("straight-" + method, spec);
        ASSERT_TRUE(run(config));
        config.out = (root_ / ("broken-" + method)).string();
        ASSERT_FALSE(run(config, 4));
        ASSERT_TRUE(Trainer(fs::path(config.out), options()).run());
        EXPECT_EQ(weights("broken-" + method), weights("straight-" + method));
        EXPECT_EQ(metrics("broken-" + method), metrics("straight-" + method));
        const json a = summary("straight-" + method), b = summary("broken-" + method);
        for (const char* key : {"flops", "layers", "accuracy", "f1", "ranks", "epochs", "tokens"})
            EXPECT_EQ(a.at(key), b.at(key)) << key;
    }
}

TEST_F(PaddedRun, WhatItIsBegunWithStays) {
    TrainConfig config = padded("run");
    ASSERT_FALSE(run(config, 3));
    json stored = read_json(root_ / "run" / "config.json");
    stored["pad"] = "fixed";
    std::ofstream(root_ / "run" / "config.json") << stored;
    EXPECT_TRUE(has(message([&] { Trainer(fs::path(config.out), options()); }),
                    "pad is \"fixed\" and was \"batch\""));
}

TEST_F(PaddedRun, EvaluationIsTheSameHoweverTextsAreFilledUp) {
    TrainConfig config = padded("run");
    ASSERT_TRUE(run(config));
    const json summary = this->summary("run");
    config.from = config.out;
    for (const char* pad : {"batch", "fixed"}) {
        config.pad = pad;
        const auto task = open_task(config);
        const auto model = task->model();
        task->load(*model);
        const Evaluation found = evaluate(*model, task->test(), task->metrics());
        EXPECT_EQ(summary["loss"], found.loss) << pad;
        EXPECT_EQ(summary["accuracy"], found.scores.at("accuracy")) << pad;
        EXPECT_EQ(summary["f1"], found.scores.at("f1")) << pad;

        // All of max_length: the same but for rounding.
        auto data = std::make_shared<TextData>(load_text("embedded-text", "").test);
        const auto first = [](auto& all) { all.resize(20); };
        first(data->first), first(data->second), first(data->labels);
        const Tokenizer tokenizer = Tokenizer::open(find_shipped("embedded-text") / "vocab.txt");
        const TextLoader filled(data, tokenizer,
                                {.batch_size = 8,
                                 .shuffle = false,
                                 .drop_last = false,
                                 .max_length = 96,
                                 .pad_to = PadTo::max_length});
        const Split split{.batch = [&](std::int64_t step) { return filled.batch(step); },
                          .steps = filled.steps_per_epoch()};
        const Evaluation full = evaluate(*model, split, task->metrics());
        EXPECT_EQ(full.samples, found.samples);
        EXPECT_EQ(full.scores, found.scores);
        EXPECT_NEAR(full.loss, found.loss, 1e-5);
    }
}

TEST_F(PaddedRun, WithoutDropoutItLearnsWhatTheFilledOneLearns) {
    TrainConfig config = padded("batch");
    config.dropout = 0;
    config.optimizer = "sgd";
    config.lr = 0.05;
    ASSERT_TRUE(run(config));
    config.pad = "fixed";
    config.out = (root_ / "fixed").string();
    ASSERT_TRUE(run(config));
    const std::vector<double> batch = losses("batch"), fixed = losses("fixed");
    ASSERT_EQ(batch.size(), 7u);
    for (std::size_t i = 0; i < batch.size(); ++i) EXPECT_NEAR(batch[i], fixed[i], 1e-4) << i;
    const json few = summary("batch"), many = summary("fixed");
    EXPECT_EQ(many["tokens"]["per_sample"], 96);
    EXPECT_LT(few["tokens"]["per_sample"], 96);
    EXPECT_NEAR(many["tokens"]["padding_per_sample"].get<double>() -
                    few["tokens"]["padding_per_sample"].get<double>(),
                96 - few["tokens"]["per_sample"].get<double>(), 1e-9)
        << "the same texts";
    EXPECT_LT(few["flops"]["backward_linear"], many["flops"]["backward_linear"]);
    EXPECT_LT(few["bytes"]["saved_per_sample"], many["bytes"]["saved_per_sample"]);

    // The masks of attention are of another shape, so with dropout the runs part at once.
    config.dropout = 0.1;
    config.steps = 1;
    config.out = (root_ / "fixed-dropout").string();
    ASSERT_TRUE(run(config));
    config.pad = "batch";
    config.out = (root_ / "batch-dropout").string();
    ASSERT_TRUE(run(config));
    EXPECT_GT(std::abs(losses("fixed-dropout")[0] - losses("batch-dropout")[0]), 1e-6);
}

TEST_F(PaddedRun, AMethodOfAComparisonMayHaveIt) {
    ComparisonOptions options;
    options.methods = {"vanilla:pad=batch", "sketch:rank=4:pad=batch", "instant"};
    options.out = (root_ / "cmp").string();
    options.base = padded("");
    options.base.pad = "fixed";
    options.base.steps = 2;
    const auto run_one = [&](const ComparedRun& run) {
        return Trainer(run.config, Train::options()).run();
    };
    const auto note = [](const std::string&) {};
    const json document = compare(options, run_one, note);
    const auto flops = [&](std::size_t row) {
        return document["methods"][row]["backward_flops"]["mean"].get<double>();
    };
    const auto config = [&](std::size_t row) {
        return read_config(document["runs"][row].get<std::string>());
    };
    EXPECT_EQ(config(0).pad, "batch");
    EXPECT_EQ(config(2).pad, "fixed");
    EXPECT_LT(flops(1), flops(0));

    options.base.pad = "batch";
    options.out = (root_ / "bad").string();
    EXPECT_TRUE(has(message([&] { compare(options, run_one, note); }), "method 'instant'"));
    EXPECT_FALSE(fs::exists(options.out));
}

}  // namespace
}  // namespace slimgrad
