// Runs with adapters: what they write, that they go on to the same bits, and what they begin from.
#include <cmath>

#include "data/safetensors.h"
#include "nn/low_rank_adapter.h"
#include "train/cost_document.h"
#include "train/evaluate.h"
#include "train/probe.h"
#include "train/task.h"
#include "train/weights.h"
#include "train_fixture.h"

namespace slimgrad {
namespace {

class LoraRuns : public Train {
  protected:
    TrainConfig lora(const std::string& name, const std::string& method = "lora") const {
        TrainConfig config = small(name, "vit-micro");
        config.method = method;
        config.lr = 1e-2;
        config.own.set("[test]", method_option("rank"), std::int64_t{2});
        config.own.set("[test]", method_option("alpha"), 4.0);
        config.steps = 7;
        config.calibrate_every = 3;
        config.calibrate_batches = 2;
        return config;
    }
    TrainConfig text(const std::string& name) const {
        TrainConfig config = lora(name, "lora+instant");
        config.data = "embedded-text";
        config.model = "bert-tiny";
        config.train_blocks = "last:1";
        config.augment = false;
        config.max_length = 8;
        return config;
    }
    SafeTensors file(const std::string& run, const char* name) const {
        return SafeTensors::open(root_ / run / name);
    }
    static std::vector<std::string> names(const SafeTensors& file) {
        std::vector<std::string> all;
        for (const TensorEntry& entry : file.entries()) all.push_back(entry.name);
        return all;
    }
    /// The weights of a run in a model without adapters, on the test set.
    static Evaluation evaluated(TrainConfig config) {
        config.from = config.out;
        const auto task = open_task(config);
        const auto model = task->model();
        EXPECT_TRUE(task->load(*model).fresh.empty());
        EXPECT_FALSE(has_adapters(*model));
        return evaluate(*model, task->test(), task->metrics());
    }
};

TEST_F(LoraRuns, TheWeightsOfARunAreMergedUnderThePlainNames) {
    ASSERT_TRUE(run(small("plain", "vit-micro")));
    for (const char* method : {"lora", "lora+instant"}) {
        TrainConfig config = lora(method, method);
        ASSERT_TRUE(run(config));
        EXPECT_EQ(names(file(method, "model.safetensors")),
                  names(file("plain", "model.safetensors")));
        const json made = summary(method);
        const Evaluation again = evaluated(config);
        EXPECT_NEAR(again.loss, made["loss"].get<double>(), 1e-5);
        EXPECT_EQ(again.scores.at("accuracy"), made["accuracy"].get<double>());

        // What was trained, and that it was.
        const SafeTensors adapter = file(method, adapter_file);
        EXPECT_EQ(names(adapter).size(), 2u * (1 + 4 * 4) + 2);
        EXPECT_EQ(adapter.shape("base_model.model.blocks.0.fc1.lora_A.weight"), (Shape{2, 96}));
        EXPECT_EQ(adapter.shape("base_model.model.blocks.0.attention.qkv.lora_B.weight"),
                  (Shape{288, 6}));
        EXPECT_TRUE(adapter.contains("base_model.model.head.bias"));
        EXPECT_EQ(adapter.metadata().at("lora_alpha"), "4");
        EXPECT_EQ(adapter.metadata().at("blocks.0.fc1.r"), "2");
        const Tensor a = adapter.tensor("base_model.model.blocks.0.fc1.lora_A.weight"),
                     b = adapter.tensor("base_model.model.blocks.0.fc1.lora_B.weight");
        const auto model = open_task(config)->model();
        std::map<std::string, Tensor> initial;
        for_each_parameter(*model,
                           [&](const std::string& name, Parameter& p) { initial[name] = p.value; });
        const SafeTensors merged = file(method, "model.safetensors");
        const Tensor w = merged.tensor("blocks.0.fc1.weight");
        double moved = 0;
        for (std::int64_t i = 0; i < w.size(0); ++i)
            for (std::int64_t j = 0; j < w.size(1); ++j) {
                double update = 0;
                for (std::int64_t k = 0; k < 2; ++k)
                    update +=
                        4.0 / 2 * double{b.data()[i * 2 + k]} * double{a.data()[k * w.size(1) + j]};
                const std::int64_t at = i * w.size(1) + j;
                const double before = initial.at("blocks.0.fc1.weight").data()[at];
                EXPECT_NEAR(w.data()[at], before + update, 1e-6);
                moved = std::max(moved, std::abs(update));
            }
        EXPECT_GT(moved, 1e-4);
        for (const char* frozen : {"positions", "norm.weight", "blocks.1.norm1.bias",
                                   "blocks.0.fc1.bias", "patch_embed.bias"})
            EXPECT_TRUE(identical(merged.tensor(frozen), initial.at(frozen))) << frozen;
        EXPECT_FALSE(identical(merged.tensor("head.bias"), initial.at("head.bias")));
    }
    EXPECT_EQ(summary("lora")["calibrations"], 0);
    EXPECT_EQ(summary("lora+instant")["calibrations"], 3);
    EXPECT_FALSE(fs::exists(root_ / "plain" / adapter_file));
    const json plain = summary("plain")["bytes"], lora = summary("lora")["bytes"],
               both = summary("lora+instant")["bytes"];
    EXPECT_LT(lora["optimizer"].get<std::int64_t>() * 8, plain["optimizer"].get<std::int64_t>());
    EXPECT_LT(both["saved_per_sample_linear"].get<std::int64_t>(),
              lora["saved_per_sample_linear"].get<std::int64_t>());
}

TEST_F(LoraRuns, AStopAtAnyMomentEndsInTheSameBits) {
    for (const bool is_text : {false, true}) {
        const std::string name = is_text ? "text" : "image";
        TrainConfig config = is_text ? text(name) : lora(name, "lora+instant");
        ASSERT_TRUE(run(config));
        config.out = (root_ / (name + "-broken")).string();
        ASSERT_FALSE(run(config, 2));
        ASSERT_FALSE(Trainer(fs::path(config.out), options(5)).run());
        ASSERT_TRUE(Trainer(fs::path(config.out), options()).run());
        EXPECT_EQ(weights(name + "-broken"), weights(name));
        EXPECT_EQ(text_of(root_ / (name + "-broken") / adapter_file),
                  text_of(root_ / name / adapter_file));
        EXPECT_EQ(metrics(name + "-broken"), metrics(name));
        EXPECT_EQ(summary(name + "-broken")["layers"], summary(name)["layers"]);
        // The checkpoint has the base and the adapters.
        const SafeTensors state = file(name, checkpoint_file);
        for (const char* parameter : {"weight", "lora_A.weight", "lora_B.weight"})
            EXPECT_TRUE(state.contains(std::string("model.blocks.1.fc1.") + parameter));
        EXPECT_FALSE(state.contains("optimizer.exp_avg.blocks.1.fc1.weight"));
        EXPECT_TRUE(state.contains("optimizer.exp_avg.blocks.1.fc1.lora_A.weight"));
        RunProbe probe(config.out);
        EXPECT_EQ(probe.step(), 7);
        EXPECT_TRUE(has_adapters(probe.model()));
    }
}

TEST_F(LoraRuns, AdaptersBeginAtNothingOnTheWeightsThatTheyAreGiven) {
    TrainConfig base = small("base", "vit-micro");
    base.steps = 3;
    ASSERT_TRUE(run(base));
    TrainConfig config = lora("tuned");
    config.from = base.out;
    config.lr = 0;  // so that it stays what it begins as
    ASSERT_TRUE(run(config));
    EXPECT_EQ(weights("tuned"), weights("base")) << "W + (α/r) B A with B = 0, bit for bit";
    EXPECT_TRUE(summary("tuned")["fresh"].empty());

    TrainConfig words = text("words");
    words.method = "vanilla";
    words.own = {};
    ASSERT_TRUE(run(words));
    TrainConfig tuned = text("tuned-words");
    tuned.from = words.out;
    tuned.model.clear();
    ASSERT_TRUE(run(tuned));
    EXPECT_TRUE(summary("tuned-words")["fresh"].empty());
    EXPECT_NEAR(evaluated(tuned).loss, summary("tuned-words")["loss"].get<double>(), 1e-5);
    const SafeTensors before = file("words", "model.safetensors"),
                      after = file("tuned-words", "model.safetensors");
    for (const char* name : {"embeddings.word.weight", "blocks.0.fc1.weight", "blocks.1.fc1.bias",
                             "blocks.1.norm1.weight"})
        EXPECT_TRUE(identical(before.tensor(name), after.tensor(name))) << name;
    for (const char* name : {"blocks.1.fc1.weight", "classifier.weight", "pooler.weight"})
        EXPECT_FALSE(identical(before.tensor(name), after.tensor(name))) << name;
}

TEST_F(LoraRuns, ANewRunTakesTheAdapterOfTheOldOneAway) {
    TrainConfig config = lora("run");
    ASSERT_TRUE(run(config));
    ASSERT_TRUE(fs::exists(root_ / "run" / adapter_file));
    config.method = "vanilla";
    config.own = {};
    TrainerOptions overwrite = options();
    overwrite.overwrite = true;
    ASSERT_TRUE(Trainer(config, overwrite).run());
    EXPECT_FALSE(fs::exists(root_ / "run" / adapter_file));
}

TEST_F(LoraRuns, TheClosedFormOfARunIsThatOfItsCost) {
    const TrainConfig config = lora("run");
    ASSERT_TRUE(run(config));
    CostOptions cost;
    cost.method = "lora";
    cost.model = "vit-micro";
    cost.channels = 1;
    cost.height = cost.width = 28;
    cost.batch = config.batch;
    cost.own = config.own;
    const json document = cost_document(cost), ran = summary("run");
    const std::int64_t samples = config.batch * config.steps;
    for (const char* phase : {"compress", "g_w", "g_x"})
        EXPECT_EQ(document["executed"][phase].get<std::int64_t>() * samples,
                  ran["flops"]["linear"].value(phase, std::int64_t{0}))
            << phase;
    EXPECT_EQ(document["executed"]["saved_bytes"], ran["bytes"]["saved_per_sample_linear"]);
    // Against training everything.
    cost.method = "vanilla";
    EXPECT_EQ(document["executed"]["vanilla"]["backward"],
              cost_document(cost)["executed"]["backward"]);

    // Convolutions are not adapted: of a ResNet nothing but the classifier is left.
    CostOptions resnet;
    resnet.model = "resnet50";
    resnet.method = "lora";
    EXPECT_EQ(cost_document(resnet)["executed"]["backward"], 2 * 2048 * 10);
    CostOptions bert;
    bert.method = "lora+instant";
    bert.rank_x = bert.rank_g = 8;
    bert.train_blocks = "last:1";
    const json both = cost_document(bert)["paper"];
    bert.method = "lora";
    const json alone = cost_document(bert)["paper"];
    EXPECT_LT(both["backward"], alone["backward"]);
    EXPECT_LT(both["saved_bytes"], alone["saved_bytes"]);
}

}  // namespace
}  // namespace slimgrad
