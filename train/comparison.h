#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/config.h"

namespace slimgrad {

/// The same run with several methods under the same seeds.
struct ComparisonOptions {
    std::vector<std::string> methods = instant_modes();  // specs (method_spec.h)
    std::int64_t seeds = 1;
    std::string out = "runs/compare";  // holds the runs, one in each directory, and the findings
    bool overwrite = false;            // start anew: replace the comparison that is there
    bool resume = false;               // go on with it: keep the runs that have finished
    TrainConfig base{};                // of every run, but for method, seed and out
    std::vector<std::string> given{};  // names of options in `base` that were chosen
};

/// One run of a comparison: its options, and how far it is.
struct ComparedRun {
    /// Nothing is there; a run that is to be replaced; a part of this run; all of it.
    enum class Found { nothing, other, part, whole };

    std::string method;  // the spec
    TrainConfig config;
    Found found = Found::nothing;
};

/// Brings one run to its end. False: it was interrupted or has failed, and that was said.
using RunOne = std::function<bool(const ComparedRun&)>;
/// Is told what the user should know, a line each.
using Note = std::function<void(const std::string&)>;

/// Runs every method under every seed, a method after the other, and returns what was found:
/// {"runs": directories, "methods": rows (comparison_figures.h), "majority_baseline"}; null if a
/// run came to no end. `run_one` executes what is left to do. After each method compare.json and
/// compare.md tell what is known so far, at last report.html shows all. Throws Error before the
/// first run, one line, for options that will not do, a place that is taken, a method that stands
/// there twice, or, to resume, runs with other options.
nlohmann::json compare(const ComparisonOptions& options, const RunOne& run_one, const Note& note);

}  // namespace slimgrad
