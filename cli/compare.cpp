#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/subprocess.h"
#include "train/comparison.h"
#include "train/comparison_figures.h"
#include "train/progress.h"

namespace slimgrad::cli {
namespace {

struct Options {
    bool json = false;
    ComparisonOptions comparison;
    std::unique_ptr<RunOptions> run;
};

/// One run in a process of its own, so that its peak memory is its own. Returns its exit status.
int run_alone(const ComparedRun& run) {
    if (run.found == ComparedRun::Found::part)
        return run_self({"train", "--resume", run.config.out});
    std::vector<std::string> words = arguments(run.config);
    words.insert(words.begin(), {"train", "--no-notes"});
    if (run.found == ComparedRun::Found::other) words.emplace_back("--overwrite");
    return run_self(words);
}

/// What to say, and the status, if a run did not come to its end.
int broken_off(const std::string& run, int status, const ComparisonOptions& options) {
    if (interrupted() || status == exit_interrupted) {
        say(fmt::format("to go on with the comparison, {}\n",
                        options.overwrite
                            ? "give the same command with --resume instead of --overwrite"
                            : "add --resume to the same command"));
        return exit_interrupted;
    }
    if (status == exit_usage) return exit_usage;  // the run has said why
    say(fmt::format("slimgrad: [compare] the run '{}' failed with status {}\n", run, status));
    return exit_failure;
}

int run_comparison(Options& options) {
    catch_interrupts();
    ComparisonOptions& comparison = options.comparison;
    comparison.base = options.run->config();
    comparison.given = options.run->given();
    int status = exit_done;
    const auto run_one = [&](const ComparedRun& run) {
        const int ended = run_alone(run);
        if (!interrupted() && ended == exit_done) return true;
        status = broken_off(run.config.out, ended, comparison);
        return false;
    };
    const nlohmann::json document =
        compare(comparison, run_one, [](const std::string& note) { print_notes({note}); });
    if (status != exit_done) return status;
    if (options.json) {
        print_json(document);
        return exit_done;
    }
    fmt::print(
        "{}\nbackward GFLOP: g_w, g_x and the compression of x in all linear maps, over the whole "
        "run; the next\ncolumn adds calibration. saved: what the whole model keeps for backward, "
        "and the linear maps' part.\noptimizer: its state. peak: the process's real peak; "
        "calibration runs uncompressed and may set it\n(--calibrate-split N lowers its part). "
        "ranks: means over layers and calibrations.\npage of plots: {}\n",
        comparison_table(document).text(),
        (std::filesystem::path(comparison.out) / "report.html").string());
    return exit_done;
}

}  // namespace

Action add_compare(CLI::App& program) {
    auto options = std::make_shared<Options>();
    CLI::App* command = add_command(
        program, "compare", "Train with several methods under the same seeds; a table of them all",
        "slimgrad compare --methods vanilla,instant --seeds 3 --epochs 5 --out runs/compare\n"
        "  slimgrad compare --methods vanilla,instant:oversample=0,instant:oversample=7 --out "
        "runs/oversample",
        options->json);
    ComparisonOptions& comparison = options->comparison;
    add_option(*command,
               {"methods", AnyText{},
                "methods, with commas between them; each may have options of its own, "
                "instant:oversample=7:train-blocks=last:1"},
               comparison.methods);
    add_option(*command, seeds_option(), comparison.seeds);
    add_option(*command, {"out", AnyText{}, "directory for the runs, one in each"}, comparison.out);
    command->add_flag("--overwrite", comparison.overwrite,
                      "start anew: replace the comparison and the runs that --out holds");
    command->add_flag("--resume", comparison.resume,
                      "go on with a comparison that was stopped: finished runs are kept");
    options->run = std::make_unique<RunOptions>(*command, std::set<std::string>{"method", "out"});
    return [options] { return run_comparison(*options); };
}

}  // namespace slimgrad::cli
