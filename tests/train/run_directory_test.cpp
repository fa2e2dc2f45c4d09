#include "train/run_directory.h"

#include "data/file.h"
#include "train/comparison_directory.h"
#include "train/weights.h"
#include "train_fixture.h"

namespace slimgrad {
namespace {

/// Where runs may go, and what becomes of what lies there.
class RunFiles : public Train {
  protected:
    static void put(const fs::path& file, const std::string& text) {
        fs::create_directories(file.parent_path());
        std::ofstream(file, std::ios::binary) << text;
    }
    /// Every file below a directory with its content.
    static std::map<std::string, std::string> content(const fs::path& directory) {
        std::map<std::string, std::string> files;
        for (const auto& entry : fs::recursive_directory_iterator(directory))
            files[entry.path().lexically_relative(directory).string()] =
                entry.is_regular_file() ? text_of(entry.path()) : "";
        return files;
    }
    static TrainerOptions overwriting() {
        return {.overwrite = true, .quiet = true, .stop = nullptr};
    }
    /// What a run with `--overwrite` says to this directory, which must be as before then.
    std::string refused(const TrainConfig& config) const {
        const auto before = content(config.out);
        std::string said = message([&] { Trainer(config, overwriting()); });
        EXPECT_EQ(content(config.out), before) << said;
        EXPECT_FALSE(has(said, "\n")) << said;
        return said;
    }
    TrainConfig brief(const std::string& name) const {
        TrainConfig config = small(name, "mlp");
        config.steps = 2;
        return config;
    }
};

TEST_F(RunFiles, ADirectoryThatIsNoRunIsLeftAlone) {
    const TrainConfig config = brief("p");
    const fs::path p = config.out;
    put(p / "model.safetensors", "my weights");
    EXPECT_TRUE(has(refused(config), "is not empty and holds no run: it has 'model.safetensors'"));
    // A model of Hugging Face has a config.json, too, and may have a metrics.jsonl.
    put(p / "config.json", R"({"model_type": "bert", "architectures": ["BertModel"]})");
    put(p / "metrics.jsonl", "");
    EXPECT_TRUE(has(refused(config), "is not empty and holds no run"));
    // Nor does a copy of some run's configuration make a run.
    put(p / "config.json", to_json(config).dump());
    fs::remove(p / "metrics.jsonl");
    EXPECT_TRUE(has(refused(config), "is not empty and holds no run"));
    fs::remove_all(p);
    put(p / "model" / "config.json", "{}");
    EXPECT_TRUE(has(refused(config), "it has 'model'"));
    fs::remove_all(p);
    ComparisonDirectory(p, ComparisonDirectory::Existing::refuse).write("compare.json", "{}");
    EXPECT_TRUE(has(refused(config), "it has 'compare.json'"));

    fs::remove_all(p);
    fs::create_directory(p);
    EXPECT_TRUE(run(config));  // an empty one will do
}

TEST_F(RunFiles, ARunThatIsReplacedStaysUntilTheNewOneHasBegun) {
    TrainConfig config = brief("run");
    ASSERT_TRUE(run(config));
    const fs::path directory = config.out;
    put(directory / "report.html", "of the old run");
    put(directory / "notes.txt", "mine");
    const std::string old = weights("run");
    fs::create_hard_link(directory / "model.safetensors", root_ / "weights");
    fs::create_hard_link(directory / "metrics.jsonl", root_ / "metrics");
    const std::string metrics = text_of(root_ / "metrics");

    TrainConfig bad = config;
    bad.data = "cifar10";
    bad.data_dir = (root_ / "none").string();
    EXPECT_TRUE(has(refused(bad), "data_batch_1.bin"));
    bad = config;
    bad.from = (root_ / "none.safetensors").string();
    EXPECT_TRUE(has(refused(bad), "no such file"));
    bad.from = "/dev/null";
    EXPECT_TRUE(has(refused(bad), "/dev/null"));
    bad.from = (root_ / "weights").string();
    bad.model = "vit-micro";
    EXPECT_TRUE(has(refused(bad), "does not fit"));

    config.lr = 1e38;
    config.optimizer = "sgd";
    config.clip = 0;
    config.steps = 5;
    Trainer trainer(config, overwriting());
    EXPECT_TRUE(has(message([&] { trainer.run(); }), "step "));
    EXPECT_FALSE(fs::exists(directory / "model.safetensors"));
    EXPECT_FALSE(fs::exists(directory / "report.html"));
    EXPECT_EQ(text_of(directory / "notes.txt"), "mine");
    // What others hold by links of their own is not written into.
    EXPECT_EQ(text_of(root_ / "weights"), old);
    EXPECT_EQ(text_of(root_ / "metrics"), metrics);
}

TEST_F(RunFiles, ARunDoesNotDestroyWhatItBeginsFrom) {
    TrainConfig config = brief("run");
    ASSERT_TRUE(run(config));
    fs::create_directory_symlink(config.out, root_ / "link");
    fs::create_symlink(fs::path(config.out) / "model.safetensors", root_ / "weights");
    const std::string plain = config.out, link = (root_ / "link").string();
    for (const std::string& from :
         {plain, plain + "/", plain + "/model.safetensors", link, link + "/model.safetensors",
          (root_ / "weights").string(), plain + "/../run/model.safetensors"}) {
        config.from = from;
        for (const std::string& out : {plain, link, plain + "/"}) {
            config.out = out;
            EXPECT_TRUE(has(refused(config), "expected another directory as out")) << from << out;
        }
    }
    config.out = fs::relative(plain).string();
    EXPECT_TRUE(has(refused(config), "expected another directory as out"));
    // A link of its own to the same file is another name: that one stays.
    fs::create_hard_link(fs::path(plain) / "model.safetensors", root_ / "hard");
    const std::string before = text_of(root_ / "hard");
    config.from = (root_ / "hard").string();
    config.out = plain;
    ASSERT_TRUE(Trainer(config, overwriting()).run());
    EXPECT_EQ(text_of(root_ / "hard"), before);
    EXPECT_NE(weights("run"), before);

    config.from.clear();
    config.data = "cifar10";
    config.data_dir = config.out = (root_ / "cifar").string();
    put(root_ / "cifar" / "data_batch_1.bin", "images");
    EXPECT_TRUE(has(refused(config), "is not empty and holds no run"));
}

TEST_F(RunFiles, OfTheFolderOfAModelOnlyWhatARunWritesIsReplaced) {
    TrainConfig config = small("run", "bert-tiny");
    config.data = "embedded-text";
    config.augment = false;
    config.max_length = 8;
    config.steps = 1;
    ASSERT_TRUE(run(config));
    const fs::path model = fs::path(config.out) / "model";
    put(model / "model.safetensors", "my weights");
    put(model / "tokenizer.json", "of a run before");
    ASSERT_TRUE(Trainer(config, overwriting()).run());
    EXPECT_EQ(text_of(model / "model.safetensors"), "my weights");
    EXPECT_FALSE(fs::exists(model / "tokenizer.json")) << "it would be taken for this run's";
    EXPECT_TRUE(fs::exists(model / "vocab.txt"));
    config.vocab = (model / "vocab.txt").string();
    EXPECT_TRUE(has(refused(config), "expected another directory as out"));
    config.vocab.clear();
    // A link to a folder of somebody's is removed, not what is in it.
    put(root_ / "mine" / "vocab.txt", "mine");
    fs::remove_all(model);
    fs::create_directory_symlink(root_ / "mine", model);
    ASSERT_TRUE(Trainer(config, overwriting()).run());
    EXPECT_EQ(text_of(root_ / "mine" / "vocab.txt"), "mine");
    // A run on images needs none.
    TrainConfig images = brief("run");
    ASSERT_TRUE(Trainer(images, overwriting()).run());
    EXPECT_FALSE(fs::exists(model));
}

TEST_F(RunFiles, ABeginningThatWasCutOffIsDoneOrUndone) {
    TrainConfig config = brief("run");
    ASSERT_TRUE(run(config));
    const fs::path directory = config.out;
    const json before = read_json(directory / "config.json");
    const auto old = content(directory);
    // Died while it wrote its first files: the old run is whole.
    put(directory / "slimgrad-begin.tmp" / "config.json", "{\"data\"");
    EXPECT_TRUE(Trainer(directory, options()).was_complete());
    EXPECT_FALSE(fs::exists(directory / "slimgrad-begin.tmp"));
    fs::remove(directory / "summary.json");
    ASSERT_TRUE(Trainer(directory, options()).run());
    EXPECT_EQ(weights("run"), old.at("model.safetensors"));
    // Died while they were moved in: the new run has begun.
    json other = before;
    other["seed"] = 1;
    put(directory / "slimgrad-begin" / "config.json", other.dump());
    put(directory / "slimgrad-begin" / "metrics.jsonl", "");
    // What the old run has left does not make the new one complete.
    EXPECT_FALSE(is_complete(directory));
    EXPECT_TRUE(has(message([&] { weights_file(directory); }), "is not finished"));
    ASSERT_TRUE(Trainer(directory, options()).run());
    EXPECT_EQ(summary("run")["config"]["seed"], 1);
    EXPECT_FALSE(fs::exists(directory / "slimgrad-begin"));
    // In a directory that was empty before, too.
    put(root_ / "new" / "slimgrad-begin" / "config.json", before.dump());
    put(root_ / "new" / "slimgrad-begin" / "metrics.jsonl", "");
    ASSERT_TRUE(Trainer(root_ / "new", options()).run());
    EXPECT_EQ(weights("new"), old.at("model.safetensors"));
}

TEST_F(RunFiles, ARunOnImagesLeavesAFolderOfAUserAlone) {
    const TrainConfig config = brief("run");
    ASSERT_TRUE(run(config));
    put(fs::path(config.out) / "model" / "vocab.txt", "mine");
    ASSERT_TRUE(Trainer(config, overwriting()).run());
    EXPECT_EQ(text_of(fs::path(config.out) / "model" / "vocab.txt"), "mine");
    TrainConfig texts = small("run", "bert-tiny");
    texts.data = "embedded-text";
    texts.augment = false;
    EXPECT_TRUE(has(refused(texts), "is of no run on texts, which this one would replace"));
}

TEST_F(RunFiles, ADirectoryThatIsNoRunCannotBeResumedAndStaysAsItIs) {
    const fs::path directory = root_ / "bert";
    put(directory / "config.json", R"({"model_type": "bert"})");
    put(directory / "model.safetensors", "weights");
    const auto before = content(directory);
    EXPECT_TRUE(has(message([&] { Trainer(directory, options()); }), "model_type"));
    EXPECT_EQ(content(directory), before);
}

TEST_F(RunFiles, WhatDeadProcessesLeftIsCleanedAndStopsNoRun) {
    TrainConfig config = small("run", "mlp");
    config.checkpoint_every = 1;
    ASSERT_TRUE(run(config));
    const std::string through = weights("run");
    config.out = (root_ / "broken").string();
    ASSERT_FALSE(run(config, 3));
    // In a container the next process has the same id, and would count from 0 as well.
    std::vector<fs::path> left;
    for (int i = 0; i < 40; ++i)
        left.push_back(fs::path(config.out) /
                       fmt::format("checkpoint.safetensors.{}-{}.tmp", ::getpid(), i));
    for (const char* name : {"model.safetensors.1-0.tmp", "summary.json.1-00ff00ff00ff00ff.tmp",
                             "config.json.77-a.tmp", "report.html.77-a.tmp"})
        left.push_back(fs::path(config.out) / name);
    for (const fs::path& file : left) put(file, "left");
    const fs::path mine = fs::path(config.out) / "checkpoint.safetensors.mine.tmp";
    put(mine, "mine");
    AtomicFile living(fs::path(config.out) / "report.html");
    living.write("a page");
    ASSERT_TRUE(Trainer(fs::path(config.out), options()).run());
    EXPECT_EQ(weights("broken"), through);
    for (const fs::path& file : left) EXPECT_FALSE(fs::exists(file)) << file;
    EXPECT_TRUE(fs::exists(mine));
    living.commit();  // which was not cleaned away
    EXPECT_EQ(text_of(fs::path(config.out) / "report.html"), "a page");
    // They do not make a new run impossible either.
    put(root_ / "fresh" / "config.json.4711-0f.tmp", "left");
    put(root_ / "fresh" / DirectoryLock::file_name, "process 4711 on another\n");
    config.out = (root_ / "fresh").string();
    ASSERT_TRUE(run(config));
    EXPECT_FALSE(fs::exists(root_ / "fresh" / "config.json.4711-0f.tmp"));
    EXPECT_FALSE(fs::exists(root_ / "fresh" / DirectoryLock::file_name));
}

TEST_F(RunFiles, ADirectoryIsLockedWhileARunUsesIt) {
    const TrainConfig config = brief("run");
    const std::string in_use = fmt::format("is in use by process {} on ", ::getpid());
    {
        Trainer trainer(config, options());
        EXPECT_TRUE(has(message([&] { Trainer(config, overwriting()); }), in_use));
        EXPECT_TRUE(has(message([&] { Trainer(fs::path(config.out), options()); }), in_use));
        ASSERT_TRUE(trainer.run());
    }
    EXPECT_FALSE(fs::exists(fs::path(config.out) / DirectoryLock::file_name));
    ASSERT_TRUE(Trainer(config, overwriting()).run());
    {
        // A comparison and a run exclude each other as well.
        using Existing = ComparisonDirectory::Existing;
        const ComparisonDirectory comparison(root_ / "cmp", Existing::refuse);
        EXPECT_TRUE(
            has(message([&] { ComparisonDirectory(root_ / "cmp", Existing::replace); }), in_use));
        TrainConfig inside = config;
        inside.out = (root_ / "cmp").string();
        EXPECT_TRUE(has(message([&] { Trainer(inside, options()); }), in_use));
    }
    // A failure at the beginning gives it free.
    TrainConfig bad = brief("bad");
    bad.batch = 1000;
    EXPECT_TRUE(has(message([&] { Trainer(bad, options()); }), "batch"));
    EXPECT_FALSE(fs::exists(bad.out));
    bad.batch = 8;
    ASSERT_TRUE(run(bad));
}

TEST_F(RunFiles, ComparisonsReplaceOnlyTheirOwn) {
    using Existing = ComparisonDirectory::Existing;
    const fs::path out = root_ / "cmp";
    put(out / "report.html", "mine");
    for (const Existing existing : {Existing::refuse, Existing::go_on, Existing::replace})
        EXPECT_TRUE(has(message([&] { ComparisonDirectory(out, existing); }),
                        "holds no comparison, but a file 'report.html'"));
    EXPECT_EQ(content(out).size(), 1u);
    fs::remove(out / "report.html");
    put(out / "other", "mine");
    put(out / "compare.md.1-0.tmp", "left");
    ComparisonDirectory(out, Existing::refuse)
        .write("compare.json", R"({"runs": [], "methods": []})");
    EXPECT_FALSE(fs::exists(out / "compare.md.1-0.tmp"));
    EXPECT_TRUE(has(message([&] { ComparisonDirectory(out, Existing::refuse); }),
                    "holds another comparison. Hint: --resume"));
    ComparisonDirectory(out, Existing::replace).write("compare.json", "{}");
    EXPECT_TRUE(has(message([&] { ComparisonDirectory(out, Existing::replace); }), "compare.json"));
    EXPECT_TRUE(has(message([&] { ComparisonDirectory("", Existing::refuse); }), "--out DIR"));
    ASSERT_TRUE(run(brief("run")));
    EXPECT_TRUE(has(message([&] { ComparisonDirectory(root_ / "run", Existing::replace); }),
                    "holds a run"));
}

}  // namespace
}  // namespace slimgrad
