#include "train_fixture.h"

#include <limits>

#include "data/safetensors.h"

namespace slimgrad {
namespace {

TEST_F(Train, ConfigSurvivesJsonAndRefusesWhatItDoesNotKnow) {
    TrainConfig config;
    config.lr = 0.1 + 0.2;
    config.rank_x = 7;
    config.seed = std::numeric_limits<std::int64_t>::max();
    config.augment = true;
    const TrainConfig back = config_from_json(json::parse(to_json(config).dump()), "test");
    EXPECT_EQ(to_json(back), to_json(config));
    EXPECT_FALSE(back.rank_g.has_value());

    const auto parse = [](const char* text) {
        return message([&] { config_from_json(json::parse(text), "c.json"); });
    };
    EXPECT_TRUE(has(parse(R"({"learning_rate": 1})"), "unknown option 'learning_rate'. Known:"));
    EXPECT_TRUE(has(parse(R"({"lr": "fast"})"),
                    "c.json: expected a number from 0 to 1e+38 as lr, got 'fast'"));
    EXPECT_TRUE(has(parse(R"({"epochs": 1.5})"), "as epochs, got 1.5"));
    EXPECT_TRUE(has(parse(R"({"seed": -1})"), "as seed, got -1"));
    EXPECT_TRUE(has(parse("[]"), "expected a JSON object"));
}

TEST_F(Train, OptionsOutOfRangeAreErrorsBeforeAnyWork) {
    const auto with = [&](auto change) {
        TrainConfig config = small("bad", "mlp");
        change(config);
        return message([&] { Trainer(config, options()); });
    };
    using C = TrainConfig;
    EXPECT_TRUE(has(with([](C& c) { c.model = "vgg"; }), "Known: mlp"));
    EXPECT_TRUE(has(with([](C& c) { c.method = "x"; }), "vanilla, compress-x"));
    EXPECT_TRUE(has(with([](C& c) { c.data = "imagenet"; }), "cifar10"));
    EXPECT_TRUE(has(with([](C& c) { c.optimizer = "lion"; }), "Known: sgd"));
    EXPECT_TRUE(has(with([](C& c) { c.schedule = "poly"; }), "Known: constant"));
    EXPECT_TRUE(has(with([](C& c) { c.side = "left"; }), "token, channel, auto"));
    EXPECT_TRUE(has(with([](C& c) { c.offset = "some"; }), "none, energy, signal"));
    EXPECT_TRUE(has(with([](C& c) { c.lr = std::nan(""); }), "as lr, got nan"));
    EXPECT_TRUE(has(with([](C& c) { c.batch = 0; }), "as batch, got 0"));
    EXPECT_TRUE(has(with([](C& c) { c.epochs = 0; }), "as epochs, got 0"));
    EXPECT_TRUE(has(with([](C& c) { c.epsilon = 1.5; }), "epsilon"));
    EXPECT_TRUE(has(with([](C& c) { c.dropout = 1; }), "from 0 to below 1 as dropout, got 1"));
    EXPECT_TRUE(has(with([](C& c) { c.calibrate_split = 9; }), "calibrate_split 9"));
    EXPECT_FALSE(fs::exists(root_ / "bad"));
    EXPECT_TRUE(has(with([](C& c) { c.batch = 41; }), "at least one batch of 41"));
    EXPECT_FALSE(fs::exists(root_ / "bad" / "config.json"));
}

TEST_F(Train, AnInterruptedRunEndsInTheSameBits) {
    for (const char* method : {"vanilla", "instant"}) {
        TrainConfig config = small("straight", "vit-micro");
        config.out += method;
        config.method = method;
        config.steps = 7;
        config.calibrate_every = 3;
        config.calibrate_batches = 2;
        config.calibrate_split = 2;
        ASSERT_TRUE(run(config));
        // Stopped twice: between calibrations, and where an epoch ends.
        const std::string straight = fs::path(config.out).filename();
        const std::string broken = std::string("broken") + method;
        config.out = (root_ / broken).string();
        ASSERT_FALSE(run(config, 2));
        EXPECT_FALSE(fs::exists(root_ / broken / "summary.json"));
        ASSERT_FALSE(Trainer(fs::path(config.out), options(5)).run());
        // What a killed run has written after its checkpoint is forgotten.
        std::ofstream(root_ / broken / "metrics.jsonl", std::ios::app) << "{\"type\":\"st";
        ASSERT_TRUE(Trainer(fs::path(config.out), options()).run());

        EXPECT_EQ(weights(broken), weights(straight)) << method;
        EXPECT_EQ(metrics(broken), metrics(straight)) << method;
        const json a = summary(straight), b = summary(broken);
        for (const char* key : {"flops", "layers", "accuracy", "ranks", "epochs", "calibrations"})
            EXPECT_EQ(a.at(key), b.at(key)) << method << ' ' << key;
        EXPECT_EQ(a["bytes"]["saved_per_sample"], b["bytes"]["saved_per_sample"]);
    }
}

TEST_F(Train, CalibrationDoesNotDisturbTheRun) {
    // An MLP has no token axis: instant calibrates and then compresses nothing.
    TrainConfig config = small("vanilla", "mlp");
    ASSERT_TRUE(run(config));
    config.method = "instant";
    config.calibrate_every = 2;
    config.calibrate_split = 3;
    config.out = (root_ / "instant").string();
    ASSERT_TRUE(run(config));
    EXPECT_EQ(weights("instant"), weights("vanilla"));
    const json a = summary("vanilla"), b = summary("instant");
    EXPECT_EQ(a["flops"]["g_w"], b["flops"]["g_w"]);
    EXPECT_EQ(a["flops"]["calibrate"], 0);
    EXPECT_GT(b["flops"]["calibrate"], 0);
    EXPECT_EQ(b["calibrations"], 5);
}

TEST_F(Train, SummaryCountsWhatWasExecuted) {
    TrainConfig config = small("run", "vit-micro");
    config.steps = 2;
    ASSERT_TRUE(run(config));
    const json s = summary("run");
    std::int64_t gw = 0, gx = 0, forward = 0, saved = 0;
    for (const json& layer : s["layers"]) {
        const std::int64_t product = 2 * config.steps * config.batch * layer["L"].get<int>() *
                                     layer["Cx"].get<int>() * layer["Cy"].get<int>();
        forward += product;
        gw += product;
        if (layer["needs_gx"]) gx += product;
        saved += layer["saved_per_sample"].get<std::int64_t>();
    }
    EXPECT_EQ(s["flops"]["linear"]["forward"], forward);
    EXPECT_EQ(s["flops"]["linear"]["g_w"], gw);
    EXPECT_EQ(s["flops"]["linear"]["g_x"], gx);
    EXPECT_EQ(s["flops"]["backward_linear"], gw + gx);
    EXPECT_EQ(s["flops"]["backward_linear_with_calibration"], gw + gx);
    EXPECT_EQ(s["bytes"]["saved_per_sample_linear"], saved);
    for (const char* key : {"saved_peak", "parameters", "gradients", "optimizer", "peak"})
        EXPECT_GT(s["bytes"][key], 0) << key;
    EXPECT_EQ(s["bytes"]["projectors"], 0);
    EXPECT_EQ(s["bytes"]["optimizer"], 2 * s["bytes"]["parameters"].get<std::int64_t>());
    EXPECT_GE(s["bytes"]["rss_peak"], s["bytes"]["peak"]);
    for (const char* key : {"forward", "backward", "calibrate", "optimizer", "total"})
        EXPECT_TRUE(s["seconds"].contains(key)) << key;
    for (const char* key : {"version", "cpu", "kernels", "threads", "seed"})
        EXPECT_TRUE(s["environment"].contains(key)) << key;
    EXPECT_EQ(s["samples"], config.steps * config.batch);
}

TEST_F(Train, LossFallsAndWeightsLoadAgain) {
    TrainConfig config = small("run", "mlp");
    config.augment = false;
    config.dropout = 0;
    config.epochs = 12;
    ASSERT_TRUE(run(config));
    const json epochs = summary("run")["epochs"];
    EXPECT_LT(epochs.back()["train_loss"], 0.5 * epochs.front()["train_loss"].get<double>());

    config.from = (root_ / "run" / "model.safetensors").string();
    config.out = (root_ / "more").string();
    config.lr = 0;
    config.epochs = 1;
    ASSERT_TRUE(run(config));
    EXPECT_EQ(summary("more")["accuracy"], summary("run")["accuracy"]);
    EXPECT_EQ(weights("more"), weights("run"));

    config.model = "vit-micro";
    config.out = (root_ / "other").string();
    EXPECT_TRUE(has(message([&] { Trainer(config, options()); }), "model.safetensors"));
}

TEST_F(Train, NanStopsTheRunAndNamesTheStep) {
    TrainConfig config = small("run", "mlp");
    ASSERT_TRUE(run(config));
    const fs::path file = root_ / "nan.safetensors";
    const SafeTensors stored = SafeTensors::open(root_ / "run" / "model.safetensors");
    std::vector<NamedTensor> tensors;
    for (const std::string& name : stored.names()) tensors.push_back({name, stored.tensor(name)});
    for (NamedTensor& one : tensors)  // finite, as weights must be, and yet too large
        std::fill_n(one.tensor.data(), one.tensor.numel(), std::numeric_limits<real>::max());
    write_safetensors(file, tensors);

    for (const char* method : {"vanilla", "instant"}) {
        config.from = file.string();
        config.method = method;
        config.out = (root_ / method).string();
        Trainer trainer(config, options());
        const std::string said = message([&] { trainer.run(); });
        EXPECT_TRUE(has(said, "step 0") && has(said, "nan")) << said;
        EXPECT_TRUE(fs::exists(root_ / method / "config.json"));
    }

    Batch batch{Tensor::zeros({2, 1, 2, 2}), {0, 1}, {31, 17}, 4};
    EXPECT_NO_THROW(require_finite(batch, 4, "set"));
    batch.x.data()[6] = std::numeric_limits<real>::infinity();
    EXPECT_TRUE(has(message([&] { require_finite(batch, 4, "set"); }), "step 4: sample 17 of"));
}

TEST_F(Train, DirectoriesThatWillNotDo) {
    const TrainConfig config = small("run", "mlp");
    ASSERT_TRUE(run(config));
    EXPECT_TRUE(has(message([&] { run(config); }), "holds another run"));
    TrainerOptions overwrite = options();
    overwrite.overwrite = true;
    EXPECT_TRUE(Trainer(config, overwrite).run());

    TrainConfig blocked = config;
    blocked.out = (root_ / "run" / "config.json").string();
    EXPECT_TRUE(has(message([&] { run(blocked); }), "cannot create the directory"));
    blocked.out = (root_ / "run" / "config.json" / "below").string();
    EXPECT_TRUE(has(message([&] { run(blocked); }), "cannot create the directory"));
    EXPECT_TRUE(has(message([&] { Trainer(root_ / "none", options()); }), "holds no run"));
}

TEST_F(Train, DamagedCheckpointsAreRefused) {
    const TrainConfig config = small("run", "mlp");
    ASSERT_FALSE(run(config, 3));
    const fs::path run_directory = config.out;
    const fs::path file = run_directory / "checkpoint.safetensors";
    const std::string good = text_of(file);
    const auto resumed_from = [&](const std::string& bytes) {
        std::ofstream(file, std::ios::binary) << bytes;
        return message([&] { Trainer(run_directory, options()); });
    };
    EXPECT_EQ(resumed_from(good), "no error");
    for (const std::string& bad :
         {std::string(), good.substr(0, 100), good.substr(0, good.size() - 8), good + "12345678",
          text_of(run_directory / "config.json")}) {
        const std::string said = resumed_from(bad);
        EXPECT_TRUE(has(said, "checkpoint.safetensors")) << said;
        EXPECT_FALSE(has(said, "\n")) << said;
    }
    std::string renamed = good;
    renamed.replace(renamed.find("\"optimizer.exp_avg."), 19, "\"optimizer.exp_xxx.");
    EXPECT_TRUE(has(resumed_from(renamed), "optimizer.exp_avg."));
    std::string counters = good;
    counters.replace(counters.find("\\\"step\\\":"), 9, "\\\"stop\\\":");
    EXPECT_TRUE(has(resumed_from(counters), "damaged"));

    std::string older = good;
    const std::string version = "\"slimgrad_checkpoint\":\"";
    ASSERT_NE(older.find(version), older.npos);
    older.replace(older.find(version) + version.size(), 1, "4");
    EXPECT_TRUE(has(resumed_from(older), "has version 4, this program reads "));

    std::ofstream(run_directory / "config.json") << "{\"model\": ";
    EXPECT_TRUE(has(message([&] { Trainer(run_directory, options()); }), "not valid JSON"));
}

}  // namespace
}  // namespace slimgrad
