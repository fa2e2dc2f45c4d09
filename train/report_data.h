#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "train/statistics.h"

namespace slimgrad::report {

using Json = nlohmann::json;
using Curve = std::vector<std::pair<double, double>>;  // step, value

/// What layers have of one kind, of those that have it: ranks of a slot at each calibration, say.
struct SpreadCurves {
    Curve mean, least, most;
};

/// What a run directory says about its run.
struct Run {
    std::string directory;
    Json config, summary;
    Curve loss, accuracy;  // of the training batches; of the test set
    SpreadCurves ranks_x, ranks_g;
    SpreadCurves kept;  // shares of the gradients' energy that sketches have kept
};

/// Runs that differ in nothing but the seed.
struct Group {
    std::string label, method;
    std::vector<Run> runs;
};

/// Throws Error that names the file, and the line of metrics.jsonl, that cannot be read.
Run read_run(const std::string& directory);
/// Groups runs, in order of appearance, and labels each group by what tells it from the others.
std::vector<Group> group_runs(std::vector<Run> runs);

/// The number at a path of keys; NaN if there is none.
double number(const Json& json, std::initializer_list<const char*> path);
/// Of one number of the summaries of a group; NaN if a run lacks it.
Statistics statistics(const Group& group, std::initializer_list<const char*> path);

}  // namespace slimgrad::report
