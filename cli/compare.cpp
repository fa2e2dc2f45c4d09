#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/method_spec.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/subprocess.h"
#include "cli/table.h"
#include "tensor/error.h"
#include "train/comparison_directory.h"
#include "train/json_file.h"
#include "train/progress.h"
#include "train/report.h"
#include "train/run_directory.h"
#include "train/same_run.h"
#include "train/task.h"

namespace slimgrad::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Options {
    bool json = false, overwrite = false, resume = false;
    std::vector<std::string> methods = instant_modes();
    std::int64_t seeds = 1;
    std::string out = "runs/compare";
    std::unique_ptr<RunOptions> run;
};

/// A figure of the comparison: its name in JSON, its column in the table, where it stands in
/// summary.json, and what it is multiplied by for display.
struct Figure {
    const char* name;
    const char* column;
    const char* pointer;
    double scale;
    int digits;
};
constexpr Figure figures[] = {
    {"accuracy", "accuracy %", "/accuracy", 100, 2},
    {"f1", "F1 %", "/f1", 100, 2},
    {"matthews", "Matthews %", "/matthews", 100, 2},
    {"backward_flops", "backward GFLOP", "/flops/backward_linear", 1e-9, 1},
    {"backward_flops_with_calibration", "+ calibration", "/flops/backward_linear_with_calibration",
     1e-9, 1},
    {"saved_per_sample", "saved KiB/sample", "/bytes/saved_per_sample", 1.0 / 1024, 1},
    {"saved_per_sample_linear", "of linear maps", "/bytes/saved_per_sample_linear", 1.0 / 1024, 1},
    {"rss_peak", "peak MiB", "/bytes/rss_peak", 1.0 / (1 << 20), 1},
    {"seconds_forward", "forward s", "/seconds/forward", 1, 1},
    {"seconds_backward", "backward s", "/seconds/backward", 1, 1},
    {"seconds_calibrate", "calibration s", "/seconds/calibrate", 1, 1},
    {"mean_rank_x", "rank x", "/ranks/mean_x", 1, 1},
    {"mean_rank_g", "rank g", "/ranks/mean_g", 1, 1},
};

/// Mean and sample standard deviation of one figure over the seeds; null where a method has none.
json statistics(const std::vector<json>& summaries, const Figure& figure) {
    std::vector<double> values;
    for (const json& summary : summaries) {
        const json value = summary.value(json::json_pointer(figure.pointer), json());
        if (value.is_number()) values.push_back(value.get<double>());
    }
    if (values.empty()) return nullptr;
    double mean = 0, squares = 0;
    for (const double value : values) mean += value / static_cast<double>(values.size());
    for (const double value : values) squares += (value - mean) * (value - mean);
    json result{{"mean", mean}, {"sd", nullptr}};
    if (values.size() > 1)
        result["sd"] = std::sqrt(squares / static_cast<double>(values.size() - 1));
    return result;
}

std::string cell(const json& statistics, const Figure& figure) {
    if (statistics.is_null()) return "-";
    const double mean = statistics.at("mean").get<double>() * figure.scale;
    if (statistics.at("sd").is_null()) return fmt::format("{:.{}f}", mean, figure.digits);
    return fmt::format("{:.{}f} ± {:.{}f}", mean, figure.digits,
                       statistics.at("sd").get<double>() * figure.scale, figure.digits);
}

/// A row for each method, and one for what the majority class gets; columns that none fills are
/// left out.
Table make_table(const json& document) {
    Table table;
    table.rows.push_back({"method"});
    const json& methods = document.at("methods");
    const json& majority = document.at("majority_baseline");
    for (const json& method : methods) table.rows.push_back({method.at("method")});
    if (!majority.is_null()) table.rows.push_back({"majority class"});
    for (const Figure& figure : figures) {
        if (std::ranges::all_of(methods, [&](const json& m) { return m[figure.name].is_null(); }))
            continue;
        std::size_t row = 0;
        table.rows[row].emplace_back(figure.column);
        for (const json& method : methods)
            table.rows[++row].push_back(cell(method.at(figure.name), figure));
        if (majority.is_null()) continue;
        const auto baseline = majority.find(figure.name);
        table.rows[++row].push_back(
            baseline == majority.end()
                ? "-"
                : fmt::format("{:.{}f}", baseline->get<double>() * figure.scale, figure.digits));
    }
    return table;
}

/// What is left to do for one run of the comparison. `again`: a run that is there is replaced.
enum class Left { all, again, rest, nothing };

/// All options of a run but its directory, places as a run stores them.
json options_of(TrainConfig config) {
    for (std::string* place : {&config.data_dir, &config.from, &config.vocab})
        if (!place->empty()) *place = fs::absolute(*place).lexically_normal().string();
    json options = to_json(config);
    options.erase("out");
    return options;
}

/// The runs that a comparison found in its places and is to replace, with their fingerprints. In
/// compare.json, since it may be stopped before their turn comes.
json to_be_replaced(const std::vector<TrainConfig>& configs, const Options& options) {
    json old = json::object();
    if (options.resume)
        if (const json before = json_or_nothing(fs::path(options.out) / "compare.json");
            before.is_object())
            old = before.value("replaces", old);
    if (options.overwrite)
        for (const TrainConfig& config : configs)
            if (holds_run(config.out)) old[config.out] = fingerprint(config.out);
    return old;
}

/// Throws Error if the directory is not free for a run of this comparison.
Left left_to_do(const TrainConfig& config, const json& replaces, const Options& options) {
    if (const auto old = replaces.find(config.out); old != replaces.end())
        if (*old == fingerprint(config.out)) return Left::again;
    if (!options.resume || !holds_run(config.out)) {
        RunDirectory::require_free(config.out, false);
        return Left::all;
    }
    // An option that an older program did not know had its default.
    json there = options_of(resolved(read_config(config.out)));
    json here = options_of(config);
    if (config.threads == 0)  // as many as there are
        for (json* threads : {&there, &here}) threads->erase("threads");
    const std::string changed = changes(there, here);
    require(changed.empty(), "[compare] '{}' was run with other options: {}", config.out, changed);
    return is_complete(config.out) ? Left::nothing : Left::rest;
}

/// Writes what is known so far, so that a comparison may be read while it goes on.
void write_findings(const json& document, const ComparisonDirectory& out) {
    out.write("compare.json", json_text(document));
    out.write("compare.md", make_table(document).markdown());
}

/// One run in a process of its own, so that its peak memory is its own.
int run_one(const TrainConfig& config, Left left) {
    if (left == Left::nothing) return exit_done;
    if (left == Left::rest) return run_self({"train", "--resume", config.out});
    std::vector<std::string> words = arguments(config);
    words.insert(words.begin(), {"train", "--no-notes"});
    if (left == Left::again) words.emplace_back("--overwrite");
    return run_self(words);
}

/// What has no effect: options of a method on its run, and those of all on every run.
std::vector<std::string> notes_on(const std::vector<MethodRun>& methods, const Options& options) {
    std::vector<std::string> notes;
    for (std::size_t i = 0; i < methods.size(); ++i)
        for (const std::string& note : without_effect(methods[i].config, methods[i].given))
            notes.push_back(fmt::format("{}: {}", options.methods[i], note));
    for (const std::string& name : options.run->given()) {
        std::vector<std::string> of_runs;
        for (const MethodRun& method : methods)
            for (std::string& note : without_effect(method.config, {name}))
                of_runs.push_back(std::move(note));
        if (of_runs.size() == methods.size()) notes.push_back(of_runs.front());
    }
    return notes;
}

/// A run that the comparison asks for.
struct Run {
    std::string method;  // as it was asked for
    TrainConfig config;
    Left left = Left::all;
};

/// All runs, a method after the other. Nothing is read or written yet but what they begin from.
std::vector<Run> plan(const Options& options) {
    const TrainConfig base = options.run->config();
    std::vector<MethodRun> methods;
    std::vector<Run> runs;
    std::set<fs::path> directories;
    for (const std::string& method : options.methods) {
        methods.push_back(with_method(base, method));
        for (std::int64_t k = 0; k < options.seeds; ++k) {
            TrainConfig config = methods.back().config;
            config.seed += static_cast<std::uint64_t>(k);
            validate(config);
            config = resolved(std::move(config));
            const fs::path directory =
                fs::path(options.out) / fmt::format("{}-seed{}", file_name(method), config.seed);
            require(directories.insert(directory).second,
                    "[compare] expected each method once, got '{}' twice", method);
            config.out = directory.string();
            runs.push_back({method, std::move(config)});
        }
    }
    print_notes(notes_on(methods, options));
    return runs;
}

/// What to say, and the status, if a run did not come to its end.
int broken_off(const Run& run, int status, const Options& options) {
    if (interrupted() || status == exit_interrupted) {
        say(fmt::format("to go on with the comparison, {}\n",
                        options.overwrite
                            ? "give the same command with --resume instead of --overwrite"
                            : "add --resume to the same command"));
        return exit_interrupted;
    }
    if (status == exit_usage) return exit_usage;  // the run has said why
    say(fmt::format("slimgrad: [compare] the run '{}' failed with status {}\n", run.config.out,
                    status));
    return exit_failure;
}

int compare(const Options& options) {
    catch_interrupts();
    require(
        !(options.resume && options.overwrite),
        "[compare] --resume keeps the runs that are there, and --overwrite replaces them: leave "
        "out one of them");
    std::vector<Run> runs = plan(options);
    std::vector<TrainConfig> configs;
    for (const Run& run : runs) configs.push_back(run.config);
    require_apart(configs);
    const ComparisonDirectory findings(options.out,
                                       options.overwrite ? ComparisonDirectory::Existing::replace
                                       : options.resume  ? ComparisonDirectory::Existing::go_on
                                                         : ComparisonDirectory::Existing::refuse);
    if (!findings.note().empty()) say(findings.note() + "\n");
    const json replaces = to_be_replaced(configs, options);
    for (Run& run : runs) run.left = left_to_do(run.config, replaces, options);

    json document{{"runs", json::array()},
                  {"methods", json::array()},
                  {"majority_baseline", nullptr},
                  {"replaces", replaces}};
    if (!options.resume) findings.begin(json_text(document));
    std::vector<json> summaries;
    for (const Run& run : runs) {
        const int status = run_one(run.config, run.left);
        if (interrupted() || status != exit_done) return broken_off(run, status, options);
        document["runs"].push_back(run.config.out);
        summaries.push_back(read_json(fs::path(run.config.out) / "summary.json"));
        if (std::ssize(summaries) < options.seeds) continue;
        json row{{"method", run.method}, {"seeds", options.seeds}};
        for (const Figure& figure : figures) row[figure.name] = statistics(summaries, figure);
        document["methods"].push_back(row);
        document["majority_baseline"] = summaries.front().value("majority_baseline", json());
        summaries.clear();
        if (&run == &runs.back()) document.erase("replaces");  // all are
        write_findings(document, findings);
    }
    const Table table = make_table(document);
    const std::string page = (fs::path(options.out) / "report.html").string();
    write_report(document["runs"], page);
    if (options.json) {
        print_json(document);
        return exit_done;
    }
    fmt::print(
        "{}\nbackward GFLOP: g_w, g_x and the compression of x in all linear maps, over the whole "
        "run; the next\ncolumn adds calibration. saved: what the whole model keeps for backward, "
        "and the linear maps' part.\npeak: the process's real peak; calibration runs uncompressed "
        "and may set it "
        "(--calibrate-split N lowers\nits part). ranks: means over layers and calibrations.\n"
        "page of plots: {}\n",
        table.text(), page);
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
    add_option(*command,
               {"methods", AnyText{},
                "methods, with commas between them; each may have options of its own, "
                "instant:oversample=7:train-blocks=last:1"},
               options->methods);
    add_option(*command, seeds_option(), options->seeds);
    add_option(*command, {"out", AnyText{}, "directory for the runs, one in each"}, options->out);
    command->add_flag("--overwrite", options->overwrite,
                      "start anew: replace the comparison and the runs that --out holds");
    command->add_flag("--resume", options->resume,
                      "go on with a comparison that was stopped: finished runs are kept");
    options->run = std::make_unique<RunOptions>(*command, std::set<std::string>{"method", "out"});
    return [options] { return compare(*options); };
}

}  // namespace slimgrad::cli
