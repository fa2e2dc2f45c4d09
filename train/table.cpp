#include "train/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace slimgrad {
namespace {

/// fmt pads by the width on screen, so "±" counts as one.
std::string padded(const std::string& cell, std::size_t width, bool left) {
    return left ? fmt::format("{:<{}}", cell, width) : fmt::format("{:>{}}", cell, width);
}

std::size_t width(const std::string& cell) {
    return static_cast<std::size_t>(
        std::ranges::count_if(cell, [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string Table::text() const {
    std::vector<std::size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
    }
    std::string text;
    for (const auto& row : rows) {
        for (std::size_t i = 0; i < row.size(); ++i)
            text += padded(row[i], widths[i], i == 0) + (i + 1 < row.size() ? "  " : "\n");
    }
    return text;
}

std::string Table::markdown() const {
    std::string text;
    for (std::size_t r = 0; r < rows.size(); ++r) {
        text += fmt::format("| {} |\n", fmt::join(rows[r], " | "));
        if (r > 0) continue;
        for (std::size_t i = 0; i < rows[r].size(); ++i) text += i == 0 ? "|---" : "|---:";
        text += "|\n";
    }
    return text;
}

}  // namespace slimgrad
