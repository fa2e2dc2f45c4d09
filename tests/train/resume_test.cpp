#include "train_fixture.h"

namespace slimgrad {
namespace {

/// Runs that are resumed: what may have changed, what is missing, and where they may stop.
class Resume : public Train {
  protected:
    static std::string resumed(const fs::path& run) {
        return message([&] { Trainer(run, options()).run(); });
    }
    static void set(const fs::path& run, const std::string& option, const json& value) {
        json config = read_json(run / "config.json");
        config[option] = value;
        std::ofstream(run / "config.json") << config;
    }
};

TEST_F(Resume, AStopAtAnyMomentEndsInTheSameBits) {
    TrainConfig config = small("straight", "vit-micro");
    config.method = "instant";
    config.steps = 7;
    config.calibrate_every = 3;
    config.calibrate_batches = 2;
    config.calibrate_split = 2;
    ASSERT_TRUE(run(config));
    config.out = (root_ / "broken").string();
    // The n-th start is stopped when it is asked for the n-th time: before steps, in the middle of
    // calibrations and in the middle of evaluations.
    int sessions = 0;
    for (bool done = false; !done; ++sessions) {
        int asked = 0;
        TrainerOptions options = Train::options();
        options.stop = [&](std::int64_t) { return ++asked > sessions; };
        done = sessions == 0 ? Trainer(config, options).run()
                             : Trainer(fs::path(config.out), options).run();
    }
    EXPECT_GT(sessions, 5);
    EXPECT_EQ(weights("broken"), weights("straight"));
    EXPECT_EQ(metrics("broken"), metrics("straight"));
    const json a = summary("straight"), b = summary("broken");
    for (const char* key : {"flops", "layers", "accuracy", "ranks", "epochs", "calibrations"})
        EXPECT_EQ(a.at(key), b.at(key)) << key;
}

TEST_F(Resume, AStateInTheGradientsOwnSpaceComesBackToTheSameBits) {
    TrainConfig plain = small("plain", "vit-micro");
    plain.steps = 7;
    ASSERT_TRUE(run(plain));
    const auto dense = summary("plain")["bytes"]["optimizer"].get<std::int64_t>();
    for (const auto& [method, moments] :
         {std::pair{"compact", "transport"}, {"galore", "keep"}, {"galore+instant", "transport"}}) {
        TrainConfig config = small(method, "vit-micro");
        config.steps = 7;
        config.calibrate_batches = 1;
        config.method = method;
        set_option(config, "rank", "5", "[test]");
        set_option(config, "redraw_every", "3", "[test]");
        set_option(config, "moments", moments, "[test]");
        set_option(config, "scale", "0.5", "[test]");
        ASSERT_TRUE(run(config));
        EXPECT_LT(summary(method)["bytes"]["optimizer"].get<std::int64_t>(), dense / 3) << method;
        for (const int stop : {0, 3, 5}) {  // projections change at 3
            const std::string broken = fmt::format("{}-{}", method, stop);
            config.out = (root_ / broken).string();
            ASSERT_FALSE(run(config, stop));
            EXPECT_TRUE(Trainer(fs::path(config.out), options()).run());
            EXPECT_EQ(weights(broken), weights(method)) << broken;
        }
    }

    TrainConfig config = small("broken", "vit-micro");
    config.method = "compact";
    ASSERT_FALSE(run(config, 2));
    const fs::path checkpoint = root_ / "broken" / "checkpoint.safetensors";
    const std::string good = text_of(checkpoint);
    const auto with = [&](const std::string& from, const std::string& to) {
        std::string text = good;
        EXPECT_NE(text.find(from), text.npos);
        text.replace(text.find(from), from.size(), to);
        std::ofstream(checkpoint, std::ios::binary) << text;
        return resumed(root_ / "broken");
    };
    EXPECT_TRUE(has(with("moments.blocks.0.fc1", "moments.blocks.7.fc1"),
                    "damaged: [optimizer] the state has no place for"));
    EXPECT_TRUE(has(with("moments.blocks.0.fc1", "moments.blocks.0.fc2"), "does not fit"));
}

TEST_F(Resume, ARunWithoutACheckpointBeginsAgain) {
    TrainConfig config = small("first", "mlp");
    ASSERT_TRUE(run(config));
    config.from = config.out;
    config.out = (root_ / "straight").string();
    ASSERT_TRUE(run(config));
    config.out = (root_ / "broken").string();
    { const Trainer killed(config, options()); }
    std::ofstream(root_ / "broken" / "metrics.jsonl", std::ios::app) << "{\"type\":\"step\"}\n{";
    EXPECT_EQ(resumed(config.out), "no error");
    EXPECT_EQ(weights("broken"), weights("straight"));
    EXPECT_EQ(metrics("broken"), metrics("straight"));

    TrainConfig text = small("text", "bert-tiny");
    text.data = "embedded-text";
    text.augment = false;
    text.max_length = 8;
    text.steps = 2;
    ASSERT_TRUE(run(text));
    text.out = (root_ / "broken-text").string();
    { const Trainer killed(text, options()); }
    EXPECT_EQ(resumed(text.out), "no error");
    EXPECT_EQ(weights("broken-text"), weights("text"));

    // What it begins from must still be there.
    config.out = (root_ / "orphan").string();
    { const Trainer killed(config, options()); }
    fs::remove_all(config.from);
    const std::string said = resumed(config.out);
    EXPECT_TRUE(has(said, "first") && !has(said, "\n")) << said;
}

TEST_F(Resume, OptionsThatWereChangedAreNamed) {
    const TrainConfig config = small("run", "mlp");
    ASSERT_FALSE(run(config, 3));
    const fs::path run = config.out;
    const json begun = read_json(run / "config.json");
    const std::string checkpoint = text_of(run / "checkpoint.safetensors");
    const auto changed = [&](const std::string& option, const json& value) {
        std::ofstream(run / "config.json") << begun;
        set(run, option, value);
        std::string said = resumed(run);
        EXPECT_FALSE(has(said, "\n")) << said;
        EXPECT_EQ(text_of(run / "checkpoint.safetensors"), checkpoint) << option;
        return said;
    };
    EXPECT_TRUE(has(changed("seed", 1),
                    "config.json was changed since the run was begun: seed is "
                    "1 and was 0. Hint: put it back"));
    EXPECT_TRUE(has(changed("batch", 4), "batch is 4 and was 8"));
    EXPECT_TRUE(has(changed("limit_train", 32), "limit_train is 32 and was 40"));
    EXPECT_TRUE(has(changed("limit_test", 8), "limit_test is 8 and was 16"));
    EXPECT_TRUE(has(changed("dropout", 0.2), "dropout is 0.2 and was 0.1"));
    EXPECT_TRUE(has(changed("steps", 2), "steps is 2 and was 0"));
    EXPECT_TRUE(has(changed("epochs", 3), "epochs is 3 and was 2"));
    EXPECT_TRUE(has(changed("method", "instant"), "method is \"instant\" and was \"vanilla\""));
    EXPECT_TRUE(has(changed("rank_x", 3), "rank_x is 3 and was not given"));
    EXPECT_TRUE(has(changed("optimizer", "sgd"), "optimizer is \"sgd\" and was \"adamw\""));
    // These say nothing about what is learned.
    std::ofstream(run / "config.json") << begun;
    set(run, "log_every", 2);
    set(run, "checkpoint_every", 1);
    EXPECT_EQ(resumed(run), "no error");
}

TEST_F(Resume, DataThatWereChangedAreNoticed) {
    const fs::path data = root_ / "data";
    fs::create_directory(data);
    const auto write = [&](const char* file, int changed) {
        std::ofstream out(data / file);
        out << "id\tsentence1\tsentence2\tlabel\n";
        for (int i = 0; i < 50; ++i)
            out << i << "\tone " << i << "\ttwo" << (i == changed ? "!" : "") << '\t' << i % 2
                << '\n';
    };
    write("train.tsv", -1);
    write("dev.tsv", -1);
    TrainConfig config = small("run", "bert-tiny");
    config.data = "paws-wiki";
    config.data_dir = data.string();
    config.augment = false;
    config.max_length = 8;
    ASSERT_FALSE(run(config, 3));

    write("train.tsv", 45);  // beyond the 40 samples of the run
    EXPECT_FALSE(Trainer(fs::path(config.out), options(4)).run());
    write("train.tsv", 20);
    const std::string said = resumed(config.out);
    EXPECT_TRUE(
        has(said, "the train data of 'paws-wiki' are not those that the run was begun with"))
        << said;
    write("train.tsv", -1);
    write("dev.tsv", 5);
    EXPECT_TRUE(has(resumed(config.out), "the test data of 'paws-wiki' are not those that"));
    write("dev.tsv", -1);
    // They may lie in another place.
    fs::rename(data, root_ / "moved");
    set(config.out, "data_dir", (root_ / "moved").string());
    EXPECT_EQ(resumed(config.out), "no error");
}

TEST_F(Resume, ARunThatIsCompleteStaysAsItIs) {
    const TrainConfig config = small("run", "mlp");
    ASSERT_TRUE(run(config));
    const fs::path run = config.out;
    fs::last_write_time(run / "summary.json", fs::file_time_type());
    const std::string before = text_of(run / "summary.json");
    Trainer trainer(run, options());
    EXPECT_TRUE(trainer.was_complete());
    EXPECT_TRUE(trainer.run());
    EXPECT_EQ(trainer.summary(), json::parse(before));
    EXPECT_EQ(text_of(run / "summary.json"), before);
    EXPECT_EQ(fs::last_write_time(run / "summary.json"), fs::file_time_type());
    // Its data need not be there any more; but it is no other run than the one that was trained.
    set(run, "data_dir", "/nowhere");
    EXPECT_EQ(resumed(run), "no error");
    set(run, "epochs", 5);
    EXPECT_TRUE(has(resumed(run),
                    "is complete, and its config.json was changed since: epochs is 5 "
                    "and was 2. Hint: --from"));
    std::ofstream(run / "summary.json") << "[]";
    EXPECT_TRUE(has(resumed(run), "expected the summary of a run in"));
    // Without its weights it is not complete; the checkpoint of its end makes them again.
    std::ofstream(run / "summary.json") << before;
    set(run, "epochs", 2);
    set(run, "data_dir", "");
    const std::string made = weights("run");
    fs::remove(run / "model.safetensors");
    EXPECT_EQ(resumed(run), "no error");
    EXPECT_EQ(weights("run"), made);
}

TEST_F(Resume, MetricsThatBecameShorterAreNoObstacle) {
    TrainConfig config = small("run", "mlp");
    ASSERT_TRUE(run(config));
    config.out = (root_ / "broken").string();
    ASSERT_FALSE(run(config, 6));
    // After a crash the end of a file may be missing, in the middle of a line.
    const fs::path file = root_ / "broken" / "metrics.jsonl";
    const std::vector<json> all = metrics("broken");
    ASSERT_EQ(all.size(), 7u);  // six steps and an epoch
    const std::string text = text_of(file);
    fs::resize_file(file, text.find('\n', text.find("\"step\":3")) - 5);
    ::testing::internal::CaptureStderr();
    ASSERT_TRUE(Trainer(root_ / "broken", options()).run());
    const std::string said = ::testing::internal::GetCapturedStderr();
    EXPECT_TRUE(has(said, "metrics.jsonl has become shorter")) << said;
    EXPECT_EQ(std::ranges::count(said, '\n'), 1) << said;
    EXPECT_EQ(weights("broken"), weights("run"));
    std::vector<json> expected = metrics("run");
    expected.erase(expected.begin() + 3, expected.begin() + 7);
    EXPECT_EQ(metrics("broken"), expected);

    // Nor if it is gone altogether.
    ASSERT_FALSE(Trainer(small("gone", "mlp"), options(6)).run());
    fs::remove(root_ / "gone" / "metrics.jsonl");
    EXPECT_EQ(resumed(root_ / "gone"), "no error");
    EXPECT_EQ(weights("gone"), weights("run"));
}

TEST_F(Resume, ARunThatIsNotFinishedHasNoWeightsToBeginFrom) {
    TrainConfig config = small("run", "mlp");
    ASSERT_FALSE(run(config, 3));
    config.from = config.out;
    config.out = (root_ / "next").string();
    const std::string said = message([&] { Trainer(config, options()); });
    EXPECT_TRUE(has(said, "is not finished. Hint: slimgrad train --resume")) << said;
    EXPECT_FALSE(fs::exists(config.out));
}

}  // namespace
}  // namespace slimgrad
