#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "train/figures.h"

namespace slimgrad::cli {

/// Charts of a sweep over `axis`: "epsilon", "oversample" or "alpha".
LineChart sweep_chart(const nlohmann::json& rows, const std::string& axis);
LineChart layer_chart(const nlohmann::json& rows);
LineChart error_chart(const nlohmann::json& errors, const std::string& gradient);
LineChart staleness_chart(const nlohmann::json& rows);
LineChart spectrum_chart(const nlohmann::json& rows);

}  // namespace slimgrad::cli
