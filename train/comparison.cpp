#include "train/comparison.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "tensor/error.h"
#include "train/comparison_directory.h"
#include "train/comparison_figures.h"
#include "train/json_file.h"
#include "train/json_text.h"
#include "train/method_spec.h"
#include "train/report.h"
#include "train/run_directory.h"
#include "train/same_run.h"
#include "train/task.h"
#include "train/training_loop.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Found = ComparedRun::Found;

/// What has no effect: options of a method on its run, and those of all on every run.
std::vector<std::string> notes_on(const std::vector<MethodRun>& methods,
                                  const ComparisonOptions& options) {
    std::vector<std::string> notes;
    for (std::size_t i = 0; i < methods.size(); ++i)
        for (const std::string& note : without_effect(methods[i].config, methods[i].given))
            notes.push_back(fmt::format("{}: {}", options.methods[i], note));
    for (const std::string& name : options.given) {
        std::vector<std::string> of_runs;
        for (const MethodRun& method : methods)
            for (std::string& note : without_effect(method.config, {name}))
                of_runs.push_back(std::move(note));
        if (of_runs.size() == methods.size()) notes.push_back(of_runs.front());
    }
    return notes;
}

/// All runs, a method after the other. Nothing is read or written yet but what they begin from.
std::vector<ComparedRun> plan(const ComparisonOptions& options, const Note& note) {
    std::vector<MethodRun> methods;
    std::vector<ComparedRun> runs;
    std::set<fs::path> directories;
    require(
        !options.base.codec_was_added,
        "[compare] a codec is a part of each method. Hint: METHOD+gact, or METHOD:codec=gact:L2");
    for (const std::string& method : options.methods) {
        methods.push_back(with_method(options.base, method));
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
    for (const std::string& text : notes_on(methods, options)) note(text);
    return runs;
}

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
json to_be_replaced(const std::vector<ComparedRun>& runs, const ComparisonOptions& options) {
    json old = json::object();
    if (options.resume)
        if (const json before = json_or_nothing(fs::path(options.out) / "compare.json");
            before.is_object())
            old = before.value("replaces", old);
    if (options.overwrite)
        for (const ComparedRun& run : runs)
            if (holds_run(run.config.out)) old[run.config.out] = fingerprint(run.config.out);
    return old;
}

/// Throws Error if the directory is not free for a run of this comparison.
Found look_for(const TrainConfig& config, const json& replaces, const ComparisonOptions& options) {
    if (const auto old = replaces.find(config.out); old != replaces.end())
        if (*old == fingerprint(config.out)) return Found::other;
    if (!options.resume || !holds_run(config.out)) {
        RunDirectory::require_free(config.out, false);
        return Found::nothing;
    }
    // An option that an older program did not know had its default.
    json there = options_of(resolved(read_config(config.out)));
    json here = options_of(config);
    if (config.threads == 0)  // as many as there are
        for (json* threads : {&there, &here}) threads->erase("threads");
    const std::string changed = changes(there, here);
    require(changed.empty(), "[compare] '{}' was run with other options: {}", config.out, changed);
    return is_complete(config.out) ? Found::whole : Found::part;
}

/// Throws Error, in the name of a method, for a run that would fail before its first step: not when
/// its turn comes.
void require_possible(const std::vector<ComparedRun>& runs, const ComparisonOptions& options) {
    for (std::size_t i = 0; i < runs.size(); i += static_cast<std::size_t>(options.seeds)) {
        if (options.resume && is_complete(runs[i].config.out)) continue;
        try {
            require_possible(runs[i].config);
        } catch (const Error& error) {
            fail("[compare] {}: {}", runs[i].method, error.what());
        }
    }
}

/// Writes what is known so far, so that a comparison may be read while it goes on.
void write_findings(const json& document, const ComparisonDirectory& out) {
    out.write("compare.json", json_text(document));
    out.write("compare.md", comparison_table(document).markdown());
}

ComparisonDirectory open_directory(const ComparisonOptions& options) {
    using Existing = ComparisonDirectory::Existing;
    return {options.out, options.overwrite ? Existing::replace
                         : options.resume  ? Existing::go_on
                                           : Existing::refuse};
}

}  // namespace

json compare(const ComparisonOptions& options, const RunOne& run_one, const Note& note) {
    require(
        !(options.resume && options.overwrite),
        "[compare] --resume keeps the runs that are there, and --overwrite replaces them: leave "
        "out one of them");
    check_option("[compare]", seeds_option(), options.seeds);
    require(!options.methods.empty(), "[compare] expected a method at least, got none");
    std::vector<ComparedRun> runs = plan(options, note);
    std::vector<TrainConfig> configs;
    for (const ComparedRun& run : runs) configs.push_back(run.config);
    require_apart(configs);
    require_possible(runs, options);
    const ComparisonDirectory findings = open_directory(options);
    if (!findings.note().empty()) note(findings.note());
    const json replaces = to_be_replaced(runs, options);
    for (ComparedRun& run : runs) run.found = look_for(run.config, replaces, options);

    json document{{"runs", json::array()},
                  {"methods", json::array()},
                  {"majority_baseline", nullptr},
                  {"replaces", replaces}};
    if (!options.resume) findings.begin(json_text(document));
    std::vector<json> summaries;
    for (const ComparedRun& run : runs) {
        if (run.found != Found::whole && !run_one(run)) return nullptr;
        document["runs"].push_back(run.config.out);
        summaries.push_back(read_json(fs::path(run.config.out) / "summary.json"));
        if (std::ssize(summaries) < options.seeds) continue;
        document["methods"].push_back(comparison_row(run.method, summaries));
        document["majority_baseline"] = summaries.front().value("majority_baseline", json());
        summaries.clear();
        if (&run == &runs.back()) document.erase("replaces");  // all are
        write_findings(document, findings);
    }
    write_report(document["runs"], (findings.path() / "report.html").string());
    return document;
}

}  // namespace slimgrad
