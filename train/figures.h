#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace slimgrad {

/// One curve of a chart. Values that are not finite leave a gap.
struct Series {
    std::string label;
    std::vector<double> x, y;
    std::vector<double> low{}, high{};  // a band around the line or bars of error, or none
    bool line = true;                   // false: markers alone
};

/// Curves over one pair of axes.
struct LineChart {
    std::string title, x_label, y_label;
    std::vector<Series> series;
    bool log_y = false;
    std::vector<std::pair<double, std::string>> marks{};  // vertical lines with a word
    std::vector<std::string> categories{};  // names of x = 0, 1, …, instead of numbers
};

/// One part of a page: a chart, a table, or both, with words below.
struct Figure {
    std::string id, title, caption;
    std::optional<LineChart> chart{};
    std::vector<std::vector<std::string>> table{};  // the first row is the heading
};

/// One HTML page that holds all it needs; Chart.js draws the charts.
std::string figures_page(const std::string& title, const std::string& introduction,
                         const std::vector<Figure>& figures);

/// Writes figures_page() as report.html into a directory that is made if need be. Throws Error if
/// it cannot be written.
void write_figures(const std::filesystem::path& directory, const std::string& title,
                   const std::string& introduction, const std::vector<Figure>& figures);

}  // namespace slimgrad
