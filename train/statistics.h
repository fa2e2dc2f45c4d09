#pragma once

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace slimgrad {

/// What several runs found of one number: their mean and the standard deviation of the sample,
/// which one run has none of.
struct Statistics {
    double mean = std::numeric_limits<double>::quiet_NaN();  // of no run
    std::optional<double> sd{};
};

Statistics statistics(const std::vector<double>& values);

/// "60.00 % ± 14.14": both times `scale`, the unit behind the mean.
std::string to_string(const Statistics& statistics, int digits, double scale = 1,
                      std::string_view unit = "");

}  // namespace slimgrad
