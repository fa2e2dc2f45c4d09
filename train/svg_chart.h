#pragma once

#include <string>
#include <utility>
#include <vector>

namespace slimgrad {

/// One curve of a chart. Values that are not finite leave a gap.
struct Series {
    std::string label;
    std::vector<double> x, y;
    std::vector<double> low{}, high{};  // a shaded band, or none
    bool line = true;                   // false: markers alone
};

/// A chart of curves over one pair of axes.
struct LineChart {
    std::string title, x_label, y_label;
    std::vector<Series> series;
    bool log_y = false;
    std::vector<std::pair<double, std::string>> marks{};  // vertical lines with a word
    std::vector<std::string> categories{};  // names of x = 0, 1, …, instead of numbers
};

/// The chart as one SVG element that needs no script, style sheet or network. Colours are those of
/// Okabe and Ito, which people with any common colour blindness can tell apart, and curves differ
/// in dashes and markers too, so that it prints in grey.
std::string svg(const LineChart& chart);

}  // namespace slimgrad
