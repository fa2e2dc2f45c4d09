#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "instant/calibration/calibrator.h"
#include "instant/cost/trace.h"
#include "train/config.h"
#include "train/measurements.h"

namespace slimgrad {

/// The text of summary.json. `traced` are the linear maps that the first step executes and `ranks`
/// what the method did with each at last; `baseline` is what the majority class gets. FLOPs are
/// those of the whole run; see train/README.md for what each field counts.
nlohmann::json make_summary(const TrainConfig& config, const Measurements& m, std::int64_t steps,
                            const std::vector<LinearShape>& traced,
                            const std::vector<LayerRanks>& ranks, const Scores& baseline);

/// Version, processor, kernels, threads: what a figure depends on beside the code.
nlohmann::json environment();

}  // namespace slimgrad
