#include "train/statistics.h"

#include <fmt/format.h>

#include <cmath>

namespace slimgrad {

Statistics statistics(const std::vector<double>& values) {
    if (values.empty()) return {};
    const auto n = static_cast<double>(values.size());
    double mean = 0, squares = 0;
    for (const double value : values) mean += value / n;
    for (const double value : values) squares += (value - mean) * (value - mean);
    if (values.size() < 2) return {mean};
    return {mean, std::sqrt(squares / (n - 1))};
}

std::string to_string(const Statistics& s, int digits, double scale, std::string_view unit) {
    std::string text = fmt::format("{:.{}f}{}", s.mean * scale, digits, unit);
    if (s.sd) text += fmt::format(" ± {:.{}f}", *s.sd * scale, digits);
    return text;
}

}  // namespace slimgrad
