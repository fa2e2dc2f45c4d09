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

std::string why_fresh(const LoadReport& report) {
    std::string text;
    const auto add = [&](const char* what, const std::string& list) {
        if (!list.empty()) text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", what, list);
    };
    add("fresh", join_some(report.missing));
    add("fresh, since of another shape", join_some(report.misshapen));
    add("fresh, since of other classes", report.other_classes);
    return text;
}

std::string to_string(const LoadReport& report) {
    std::string text = why_fresh(report);
    if (!report.unused.empty())
        text += fmt::format("{}unused: {}", text.empty() ? "" : "; ", join_some(report.unused));
    return text.empty() ? "every tensor found its place" : text;
}

}  // namespace slimgrad
