#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/figures.h"
#include "train/snr_study.h"

namespace slimgrad::cli {

// What `slimgrad snr` shows: rows of JSON, from which tables, files and charts are made. A number
// that is infinite (a ratio without noise) is the word "inf" in JSON, one that does not exist (of
// nothing to nothing) is null.

nlohmann::json to_json(const SnrRow& row);
nlohmann::json to_json(const StalenessRow& row);
/// One row a layer: relative error and cosine of g_x and g_w, alone and accumulated.
nlohmann::json to_json(const ErrorStudy& study);

using Cells = std::vector<std::vector<std::string>>;
/// One line a row: the choice, the three ratios and whether the theory lies in the interval.
Cells ratio_table(const nlohmann::json& rows);
/// One line for each choice of ε and p, over all seeds.
Cells seeds_table(const nlohmann::json& rows);
Cells error_table(const nlohmann::json& errors);
/// One line for each number of steps: geometric means over layers.
Cells staleness_table(const nlohmann::json& rows);
/// Every field of every row, in full precision.
std::string csv(const nlohmann::json& rows);

/// Charts of a sweep over `axis`: "epsilon", "oversample" or "alpha".
LineChart sweep_chart(const nlohmann::json& rows, const std::string& axis);
LineChart layer_chart(const nlohmann::json& rows);
LineChart error_chart(const nlohmann::json& errors, const std::string& gradient);
LineChart staleness_chart(const nlohmann::json& rows);

/// A number of a row: NaN for null, infinity for "inf".
double value(const nlohmann::json& row, const char* key);

}  // namespace slimgrad::cli
