#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "train/svg_chart.h"

namespace slimgrad {

/// One part of a page: a chart, a table, or both, with words below.
struct Figure {
    std::string id, title, caption;
    std::optional<LineChart> chart{};
    std::vector<std::vector<std::string>> table{};  // the first row is the heading
};

/// Writes report.html, one page that holds all it needs and runs no script, and each chart as
/// <id>.svg, into a directory that is made if need be. Throws Error if it cannot be written.
void write_figures(const std::filesystem::path& directory, const std::string& title,
                   const std::string& introduction, const std::vector<Figure>& figures);

}  // namespace slimgrad
