#include <fmt/format.h>

#include <chrono>
#include <functional>
#include <iterator>
#include <set>
#include <sstream>
#include <thread>

#include "cli/interrupt.h"
#include "cli_fixture.h"
#include "tests/places.h"
#include "train/run_directory.h"

namespace cli_test {
namespace {

/// Runs as their users start, stop, kill and mix them up.
class CliRun : public Cli {
  protected:
    static bool wait_until(const std::function<bool()>& done) {
        for (int i = 0; i < 6000; ++i) {
            if (done()) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        return false;
    }
    bool has_lines(const fs::path& run) const {
        std::error_code none;
        const fs::path metrics = root_ / run / "metrics.jsonl";
        return fs::exists(metrics, none) && fs::file_size(metrics, none) > 0;
    }
    /// A run that ends by itself after a second or two, with all that a checkpoint holds.
    static constexpr const char* short_run =
        "train --model vit-micro --method instant --limit-train 256 --batch 16 --limit-test 32 "
        "--threads 1 --calibrate-every 10 --calibrate-batches 1 --checkpoint-every 3 --quiet";
    static Words longer(const Words& more, const std::string& steps = "40") {
        std::istringstream split(short_run);
        Words words{std::istream_iterator<std::string>(split), {}};
        words.insert(words.end(), {"--steps", steps});
        words.insert(words.end(), more.begin(), more.end());
        return words;
    }
    std::string weights(const fs::path& run) const {
        return text_of(root_ / run / "model.safetensors");
    }
    /// Status 1, and the one line that says that the answer was lost.
    void expect_lost(const std::string& script) const {
        const Result result = shell(script);
        EXPECT_EQ(result.status, 1) << script;
        EXPECT_TRUE(result.err.starts_with("slimgrad: cannot write to standard output: "))
            << script << ": " << result.err;
        EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
    }
};

TEST_F(CliRun, EverySignalSavesAndResumeEndsInTheSameBits) {
    ASSERT_EQ(run(longer({"--out", "through"})).status, 0);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        fs::remove_all(root_ / "run");
        const pid_t child = start(longer({"--out", "run"}));
        ASSERT_TRUE(wait_until([&] { return has_lines("run"); }));
        kill(child, signal);
        const Result result = finish(child);
        EXPECT_EQ(result.status, 130) << signal;
        EXPECT_NE(result.err.find("slimgrad train --resume 'run'"), std::string::npos)
            << result.err;
        EXPECT_TRUE(fs::exists(root_ / "run" / "checkpoint.safetensors"));
        EXPECT_FALSE(fs::exists(root_ / "run" / "summary.json"));
        EXPECT_FALSE(fs::exists(root_ / "run" / "slimgrad.lock"));
        EXPECT_EQ(run({"train", "--resume", "run", "--quiet"}).status, 0);
        EXPECT_EQ(weights("run"), weights("through"));
    }
    const json summary = run_json({"train", "--resume", "run", "--json"});
    EXPECT_EQ(summary, json::parse(text_of(root_ / "run" / "summary.json")));
    EXPECT_NE(run({"train", "--resume", "run"}).err.find("is complete"), std::string::npos);
}

TEST_F(CliRun, ACalibrationDoesNotHoldUpAnInterrupt) {
    // It would take hours.
    const pid_t child = start({"train", "--model", "vit-micro", "--method", "instant", "--threads",
                               "1", "--calibrate-batches", "1000000", "--out", "run"});
    ASSERT_TRUE(wait_until([&] { return fs::exists(root_ / "run" / "config.json"); }));
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    kill(child, SIGINT);
    EXPECT_EQ(finish(child).status, 130);
    EXPECT_TRUE(fs::exists(root_ / "run" / "checkpoint.safetensors"));
}

TEST(Interrupt, TheSecondOneEndsTheProgram) {
    for (const auto& [signals, status] : {std::pair{std::vector{SIGINT}, 0},
                                          {std::vector{SIGINT, SIGTERM}, SIGTERM},
                                          {std::vector{SIGHUP, SIGINT}, SIGINT},
                                          {std::vector{SIGPIPE, SIGPIPE, SIGINT}, 0}}) {
        const pid_t child = fork();
        if (child == 0) {
            std::signal(SIGHUP, SIG_DFL);
            slimgrad::cli::catch_interrupts();
            if (slimgrad::cli::interrupted()) _exit(1);
            for (const int signal : signals) std::raise(signal);
            _exit(slimgrad::cli::interrupted() ? 0 : 1);
        }
        int ended = 0;
        waitpid(child, &ended, 0);
        EXPECT_EQ(ended, status);
    }
}

TEST_F(CliRun, NohupOutlivesTheTerminal) {
    const pid_t child = start({"-c", "trap '' HUP; exec \"$0\" \"$@\"", slimgrad::program_path(),
                               "train", "--model", "mlp", "--limit-train", "64", "--batch", "16",
                               "--steps", "300", "--threads", "1", "--out", "run"},
                              "std", "/bin/sh");
    ASSERT_TRUE(wait_until([&] { return has_lines("run"); }));
    kill(child, SIGHUP);
    EXPECT_EQ(finish(child).status, 0);
}

TEST_F(CliRun, ARunThatLosesItsReaderSaves) {
    const Result result = shell(
        "\"$SLIMGRAD\" train --model mlp --batch 16 --threads 1 --epochs 1000 --out run 2>&1 "
        ">/dev/null"
        " | head -1; wait; until [ ! -e run/slimgrad.lock ]; do sleep 0.05; done");
    EXPECT_NE(result.out.find("majority class"), std::string::npos) << result.out;
    EXPECT_TRUE(fs::exists(root_ / "run" / "checkpoint.safetensors"));
    EXPECT_FALSE(fs::exists(root_ / "run" / "summary.json"));
}

TEST_F(CliRun, ClosedStreamsGetIntoNoFile) {
    const std::string train =
        "\"$SLIMGRAD\" train --model mlp --limit-train 64 --limit-test 16 --batch 16 --threads 1 "
        "--json --quiet --out ";
    expect_lost(train + "out >&-");
    // There is a note on momentum: nobody can read it, and that is no failure.
    EXPECT_EQ(shell(train + "err --momentum 0.5 2>&- >/dev/null").status, 0);
    EXPECT_EQ(shell(train + "in <&- >/dev/null").status, 0);
    EXPECT_EQ(shell(train + "all <&- >&- 2>&-").status, 1);
    const std::string loud =
        "\"$SLIMGRAD\" train --model mlp --limit-train 64 --batch 16 --momentum 0.5 --out full";
    EXPECT_EQ(shell(loud + " 2>/dev/full >/dev/null").status, 0);
    for (const char* run : {"out", "err", "in", "all", "full"}) {
        EXPECT_TRUE(fs::exists(root_ / run / "summary.json")) << run;
        std::ifstream metrics(root_ / run / "metrics.jsonl");
        for (std::string line; std::getline(metrics, line);)
            EXPECT_TRUE(json::parse(line, nullptr, false).contains("type")) << run << line;
    }
}

TEST_F(CliRun, AnAnswerThatCannotBeWrittenIsAFailure) {
    ASSERT_EQ(run(train({"--out", "run"})).status, 0);
    for (const char* command :
         {"--help", "--version", "info", "info --json", "train --help", "cost", "cost --layers",
          "cost --json", "data list", "data list --json", "bench list", "report run",
          "eval --from run", "eval --from run --json", "snr --samples 10",
          "train --model mlp --limit-train 64 --batch 16 --threads 1 --quiet --out again"}) {
        expect_lost(std::string("\"$SLIMGRAD\" ") + command + " >/dev/full");
        fs::remove_all(root_ / "again");
    }
    expect_lost("\"$SLIMGRAD\" cost >&-");
    // What standard output is, is written and not replaced.
    EXPECT_EQ(shell("\"$SLIMGRAD\" report run --out /dev/stdout > page.html").status, 0);
    EXPECT_TRUE(text_of(root_ / "page.html").starts_with("<!DOCTYPE html>"));
    EXPECT_TRUE(fs::is_symlink("/dev/stdout"));
    // A reader that has gone.
    EXPECT_EQ(shell("{ sleep 0.3; \"$SLIMGRAD\" cost; echo status $? >&2; } | true").err,
              "slimgrad: cannot write to standard output: Broken pipe\nstatus 1\n");
}

TEST_F(CliRun, TwoProgramsDoNotShareADirectory) {
    const pid_t child = start(longer({"--out", "run"}, "100000"), "first");
    ASSERT_TRUE(wait_until([&] { return has_lines("run"); }));
    const std::string in_use = "is in use by process " + std::to_string(child) + " on ";
    expect_refused({"train", "--resume", "run"}, in_use);
    expect_refused(train({"--out", "run", "--overwrite"}), in_use);
    kill(child, SIGKILL);
    EXPECT_EQ(finish(child, "first").status, 128 + SIGKILL);
    EXPECT_TRUE(fs::exists(root_ / "run" / "slimgrad.lock")) << "it binds nobody";
    EXPECT_EQ(run(train({"--out", "run", "--overwrite"})).status, 0);
    EXPECT_FALSE(fs::exists(root_ / "run" / "slimgrad.lock"));
}

TEST_F(CliRun, TwoComparisonsDoNotShareADirectory) {
    const Words words =
        train({"--methods", "vanilla", "--epochs", "100000", "--out", "cmp"}, "compare");
    const pid_t child = start(words, "first");
    ASSERT_TRUE(wait_until([&] { return has_lines("cmp/vanilla-seed0"); }));
    const std::string in_use = "'cmp' is in use by process " + std::to_string(child) + " on ";
    for (const char* how : {"--resume", "--overwrite"}) {
        Words second = words;
        second.emplace_back(how);
        expect_refused(second, in_use);
    }
    // Nor does anybody interfere with its runs.
    expect_refused({"train", "--resume", "cmp/vanilla-seed0"}, "is in use by process ");
    kill(child, SIGTERM);
    const Result result = finish(child, "first");
    EXPECT_EQ(result.status, 130);
    EXPECT_NE(result.err.find("add --resume"), std::string::npos) << result.err;
    EXPECT_TRUE(fs::exists(root_ / "cmp/vanilla-seed0/checkpoint.safetensors"));
}

TEST_F(CliRun, ComparisonsAreReplacedOnlyIfTheyAreAsked) {
    const auto compare = [](const Words& more) {
        Words words = {"--methods", "vanilla,compress-x", "--out", "cmp", "--json"};
        words.insert(words.end(), more.begin(), more.end());
        return train(words, "compare");
    };
    expect_refused(compare({"--resume", "--overwrite"}), "leave out one of them");
    expect_refused(train({"--out", ""}, "compare"), "out");
    EXPECT_FALSE(fs::exists(root_ / "cmp"));
    // A folder that is no run stands in the way of the second method: found before the first.
    fs::create_directories(root_ / "cmp" / "compress-x-seed0");
    std::ofstream(root_ / "cmp" / "compress-x-seed0" / "model.safetensors") << "mine";
    for (const Words& how : {Words{}, Words{"--resume"}, Words{"--overwrite"}})
        expect_refused(compare(how), "'cmp/compress-x-seed0' is not empty and holds no run");
    EXPECT_EQ(text_of(root_ / "cmp" / "compress-x-seed0" / "model.safetensors"), "mine");
    EXPECT_FALSE(fs::exists(root_ / "cmp" / "vanilla-seed0"));
    fs::remove_all(root_ / "cmp");
    fs::create_directory(root_ / "cmp");
    std::ofstream(root_ / "cmp" / "report.html") << "mine";
    for (const Words& how : {Words{}, Words{"--resume"}, Words{"--overwrite"}})
        expect_refused(compare(how), "holds no comparison, but a file 'report.html'");
    EXPECT_EQ(text_of(root_ / "cmp" / "report.html"), "mine");
    fs::remove(root_ / "cmp" / "report.html");

    run_json(compare({}));
    const auto made = [&] { return fs::last_write_time(root_ / "cmp/vanilla-seed0/summary.json"); };
    const auto first = made();
    expect_refused(compare({}), "holds another comparison");
    expect_refused(compare({"--from", "cmp/vanilla-seed0", "--overwrite"}), "another directory");
    run_json(compare({"--resume"}));
    EXPECT_EQ(made(), first);
    run_json(compare({"--overwrite"}));
    EXPECT_NE(made(), first);
}

TEST_F(CliRun, AComparisonThatReplacesAnotherCountsNoneOfItsRuns) {
    const auto compare = [](const Words& more) {
        Words words = train({"--methods", "vanilla,compress-x", "--out", "cmp"}, "compare");
        words.insert(words.end(), more.begin(), more.end());
        return words;
    };
    ASSERT_EQ(run(compare({})).status, 0);
    const auto made = [&](const std::string& run) {
        return fs::last_write_time(root_ / "cmp" / run / "summary.json");
    };
    const auto second = made("compress-x-seed0");
    // Killed in its first run: the second is still that of the comparison before.
    const pid_t child = start(compare({"--overwrite", "--epochs", "100000"}), "first");
    ASSERT_TRUE(wait_until([&] {
        return !fs::exists(root_ / "cmp/vanilla-seed0/summary.json") &&
               has_lines("cmp/vanilla-seed0");
    }));
    kill(child, SIGINT);
    EXPECT_EQ(finish(child, "first").status, 130);
    EXPECT_EQ(made("compress-x-seed0"), second);
    EXPECT_FALSE(fs::exists(root_ / "cmp" / "report.html")) << "it told of runs that are gone";
    // What is there of the new one goes on; what is of the old one does not count.
    expect_refused(compare({"--resume"}), "was run with other options: epochs");
    fs::remove_all(root_ / "cmp" / "vanilla-seed0");
    ASSERT_EQ(run(compare({"--resume"})).status, 0);
    EXPECT_NE(made("compress-x-seed0"), second);
    const json document = json::parse(text_of(root_ / "cmp" / "compare.json"));
    EXPECT_FALSE(document.contains("replaces"));
    EXPECT_EQ(document["runs"].size(), 2u);
}

TEST_F(CliRun, KillsAtAnyMomentEndInTheSameBits) {
    ASSERT_EQ(run(longer({"--out", "through"})).status, 0);
    Words words = longer({"--out", "run"});
    int status = -1;
    constexpr int kills = 40;  // a slow machine would never come to the end otherwise
    for (int k = 0; status != 0 && k <= kills; ++k) {
        const pid_t child = start(words);
        std::this_thread::sleep_for(std::chrono::milliseconds(50 * (k + 1)));
        if (k < kills) kill(child, SIGKILL);
        status = finish(child).status;
        // It may not have been moved to its place yet.
        if (fs::exists(slimgrad::config_file(root_ / "run")))
            words = {"train", "--resume", "run", "--quiet"};
    }
    EXPECT_EQ(status, 0);
    EXPECT_EQ(weights("run"), weights("through"));
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(root_ / "run"))
        names.insert(entry.path().filename().string());
    EXPECT_EQ(names, (std::set<std::string>{"checkpoint.safetensors", "config.json",
                                            "metrics.jsonl", "model.safetensors", "summary.json"}));
}

TEST_F(CliRun, AFullDiskIsOneLineAndLosesNothing) {
    ASSERT_EQ(run(longer({"--out", "through"})).status, 0);
    const std::string train = std::string("\"$SLIMGRAD\" ") + short_run + " --steps 40 --out run";
    // The limit is in blocks of 512 bytes, and holds for every file that the program writes.
    const auto limited = [&](int blocks, const std::string& command) {
        return shell(fmt::format("{{ ulimit -f {}; {}; echo status $?; }} 2>&1 | cat", blocks,
                                 command))
            .out;
    };
    const auto failure = [](const std::string& file) {
        return fmt::format("{}': File too large\nstatus 2\n", file);
    };
#ifdef __clang__
    const bool none = false;  // clang's OpenMP makes a file of its own before main() begins
#else
    const bool none = true;
#endif
    for (const auto& [blocks, file] :
         {std::pair{0, "config.json"}, {8, "metrics.jsonl"}, {64, "checkpoint.safetensors"}}) {
        if (blocks == 0 && !none) continue;
        fs::remove_all(root_ / "run");
        const std::string said = limited(blocks, train);
        EXPECT_TRUE(said.ends_with(failure(file))) << said;
        EXPECT_EQ(std::ranges::count(said, '\n'), 2) << said;
        if (blocks == 0) {
            EXPECT_FALSE(fs::exists(root_ / "run"));
            continue;
        }
        EXPECT_EQ(run({"train", "--resume", "run", "--quiet"}).status, 0);
        EXPECT_EQ(weights("run"), weights("through")) << file;
    }
    // What was whole before stays so.
    const std::string report = "\"$SLIMGRAD\" report run";
    ASSERT_EQ(shell(report).status, 0);
    const std::string page = text_of(root_ / "run" / "report.html");
    EXPECT_TRUE(limited(8, report).ends_with(failure("run/report.html")));
    EXPECT_EQ(text_of(root_ / "run" / "report.html"), page);
    if (none) {
        EXPECT_TRUE(limited(0, train + " --overwrite").ends_with(failure("config.json")));
    }
    EXPECT_EQ(weights("run"), weights("through"));
    EXPECT_EQ(text_of(root_ / "run" / "report.html"), page);
    EXPECT_EQ(shell(report + " --out /dev/full").status, 2);
}

TEST_F(CliRun, NamesThatAreNotUtf8AreRefused) {
    const std::string name = "caf\xe9";
    ASSERT_EQ(run(train({"--out", "run"})).status, 0);
    fs::rename(root_ / "run", root_ / name);
    expect_refused({"eval", "--from", name}, "expected UTF-8 as --from");
    expect_refused({"report", name}, "expected UTF-8 as runs");
    expect_refused(train({"--out", name + "2"}), "expected UTF-8 as --out");
    expect_refused(train({"--out", "run", "--from", name}), "expected UTF-8 as --from");
    EXPECT_FALSE(fs::exists(root_ / "run"));
}

TEST_F(CliRun, PlacesThatWillNotDoAreOneLineAndStatus2) {
    const std::string longer_than_names_are(300, 'x');
    std::ofstream(root_ / "file") << "in the way";
    fs::create_directory(root_ / "folder");
    fs::create_symlink("loop", root_ / "loop");
    ASSERT_EQ(run(train({"--out", "run"})).status, 0);
    for (const auto& [place, why] :
         {std::pair<std::string, const char*>{longer_than_names_are, "File name too long"},
          {"loop", "Too many levels of symbolic links"}}) {
        expect_refused(train({"--out", place}), why);
        expect_refused(train({"--out", place + "/below"}), why);
        expect_refused({"train", "--resume", place}, why);
        expect_refused(train({"--from", place, "--out", "new"}), why);
        expect_refused({"eval", "--from", place}, why);
        expect_refused({"report", place}, why);
        expect_refused({"snr", "--source", place}, why);
        expect_refused({"snr", "--samples", "10", "--out", place}, why);
        expect_refused(train({"--methods", "vanilla", "--out", place}, "compare"), why);
    }
    expect_refused({"report", "run", "--out", longer_than_names_are}, "File name too long");
    expect_refused({"report", "run", "--out", "folder"}, "Is a directory");
    expect_refused({"report", "run", "--out", "file/page.html"}, "Not a directory");
    expect_refused(train({"--config", "folder"}), "expected a file, got a directory");
    expect_refused(train({"--methods", "vanilla", "--out", "file"}, "compare"), "'file'");
    expect_refused({"eval", "--from", "folder", "--model", "mlp"}, "folder/model.safetensors");
    expect_refused({"report", "run", "--out", "file"}, "is no page of slimgrad");
    EXPECT_EQ(text_of(root_ / "file"), "in the way");
}

TEST_F(CliRun, StudiesReplaceOnlyTheirOwn) {
    const Words snr = {"snr", "--samples", "10", "--seeds", "1"};
    const auto into = [&](const std::string& out) {
        Words words = snr;
        words.insert(words.end(), {"--out", out});
        return words;
    };
    ASSERT_EQ(run(train({"--out", "run"})).status, 0);
    expect_refused(into("run"), "holds a run. Hint: --out run/snr");
    fs::create_directory(root_ / "mine");
    std::ofstream(root_ / "mine" / "rows.csv") << "1,2";
    expect_refused(into("mine"), "holds a file 'rows.csv' that is of no earlier study");
    EXPECT_EQ(text_of(root_ / "mine" / "rows.csv"), "1,2");
    EXPECT_EQ(run(into("new")).status, 0);
    EXPECT_EQ(run(into("new")).status, 0);
}

TEST_F(CliRun, EvalOfARunThatIsNotFinishedSaysSo) {
    const pid_t child = start(longer({"--out", "run"}, "100000"));
    ASSERT_TRUE(wait_until([&] { return has_lines("run"); }));
    kill(child, SIGTERM);
    EXPECT_EQ(finish(child).status, 130);
    expect_refused({"eval", "--from", "run"}, "is not finished. Hint: slimgrad train --resume");
}

}  // namespace
}  // namespace cli_test
