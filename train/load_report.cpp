#include "train/load_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/safetensors_header.h"

namespace slimgrad {

std::string join_some(const std::vector<std::string>& names) {
    constexpr std::size_t shown = 8;
    std::string text;
    for (std::size_t i = 0; i < std::min(shown, names.size()); ++i)
        text += fmt::format("{}{}", i > 0 ? ", " : "", on_a_line(names[i]));
    if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
    return text;
}

void append_names(std::string& text, const char* what, const std::vector<std::string>& names) {
    if (!names.empty())
        text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", what, join_some(names));
}

std::string why_fresh(const LoadReport& report) {
    std::string text;
    append_names(text, "fresh", report.missing);
    append_names(text, "fresh, since of another shape", report.misshapen);
    if (!report.other_classes.empty())
        text += fmt::format("{}fresh, since of other classes: {}", text.empty() ? "" : "; ",
                            report.other_classes);
    return text;
}

std::string to_string(const LoadReport& report) {
    std::string text = why_fresh(report);
    append_names(text, "unused", report.unused);
    return text.empty() ? "every tensor found its place" : text;
}

}  // namespace slimgrad
