#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "train/spectrum_study.h"

namespace slimgrad::cli {

// What `slimgrad snr` shows: rows of JSON, from which tables, files and charts (snr_charts.h) are
// made. A number that is infinite (a ratio without noise) is the word "inf" in JSON, one that does
// not exist (of nothing to nothing) is null.

nlohmann::json to_json(const SnrRow& row);
nlohmann::json to_json(const StalenessRow& row);
nlohmann::json to_json(const SpectrumRow& row);
/// One row a layer: relative error and cosine of g_x and g_w, alone and accumulated.
nlohmann::json to_json(const ErrorStudy& study);

using Cells = std::vector<std::vector<std::string>>;
/// One line a row: the choice, the three ratios and whether the theory lies in the interval.
Cells ratio_table(const nlohmann::json& rows);
/// Geometric means of the three ratios over the layers of a run, for each choice of ε and p; layers
/// in which one of them is infinite, 0 or does not exist are left out, and counted.
nlohmann::json means_of_layers(const nlohmann::json& rows);
Cells means_table(const nlohmann::json& means);
/// One line for each choice of ε and p, over all seeds.
Cells seeds_table(const nlohmann::json& rows);
Cells error_table(const nlohmann::json& errors);
/// One line for each number of steps: geometric means over layers.
Cells staleness_table(const nlohmann::json& rows);
Cells spectrum_table(const nlohmann::json& rows);
/// Every field of every row, in full precision.
std::string csv(const nlohmann::json& rows);

/// Geometric means over layers, stale and calibrated now, by oversampling and steps.
using StalenessMeans = std::map<std::int64_t, std::map<std::int64_t, std::pair<double, double>>>;
StalenessMeans geometric_means(const nlohmann::json& rows);

/// A number of a row: NaN for null, infinity for "inf".
double value(const nlohmann::json& row, const char* key);

}  // namespace slimgrad::cli
