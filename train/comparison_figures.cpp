#include "train/comparison_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "train/statistics.h"

namespace slimgrad {
namespace {

using nlohmann::json;

/// A figure of comparisons: its name in JSON, its column in the table, or none there, where it
/// stands in summary.json, and what it is multiplied by for display.
struct ComparedFigure {
    std::string_view name;
    const char* column;
    const char* pointer;
    double scale;
    int digits;

    bool of_best_epoch() const { return name.starts_with("best_"); }
};
constexpr ComparedFigure figures[] = {
    {"accuracy", "accuracy %", "/accuracy", 100, 2},
    {"best_accuracy", "best accuracy %", "/best_accuracy", 100, 2},
    {"best_accuracy_epoch", nullptr, "/best_accuracy_epoch", 1, 1},
    {"f1", "F1 %", "/f1", 100, 2},
    {"best_f1", "best F1 %", "/best_f1", 100, 2},
    {"best_f1_epoch", nullptr, "/best_f1_epoch", 1, 1},
    {"matthews", "Matthews %", "/matthews", 100, 2},
    {"best_matthews", "best Matthews %", "/best_matthews", 100, 2},
    {"best_matthews_epoch", nullptr, "/best_matthews_epoch", 1, 1},
    {"backward_flops", "backward GFLOP", "/flops/backward_linear", 1e-9, 1},
    {"backward_flops_with_calibration", "+ calibration", "/flops/backward_linear_with_calibration",
     1e-9, 1},
    {"saved_per_sample", "saved KiB/sample", "/bytes/saved_per_sample", 1.0 / 1024, 1},
    {"saved_per_sample_linear", "of linear maps", "/bytes/saved_per_sample_linear", 1.0 / 1024, 1},
    {"optimizer_bytes", "optimizer MiB", "/bytes/optimizer", 1.0 / (1 << 20), 2},
    {"rss_peak", "peak MiB", "/bytes/rss_peak", 1.0 / (1 << 20), 1},
    {"seconds_forward", "forward s", "/seconds/forward", 1, 1},
    {"seconds_backward", "backward s", "/seconds/backward", 1, 1},
    {"seconds_calibrate", "calibration s", "/seconds/calibrate", 1, 1},
    {"mean_rank_x", "rank x", "/ranks/mean_x", 1, 1},
    {"mean_rank_g", "rank g", "/ranks/mean_g", 1, 1},
};

json over_seeds(const std::vector<json>& summaries, const ComparedFigure& figure) {
    std::vector<double> values;
    for (const json& summary : summaries) {
        const json value = summary.value(json::json_pointer(figure.pointer), json());
        if (value.is_number()) values.push_back(value.get<double>());
    }
    if (values.empty()) return nullptr;
    const Statistics found = statistics(values);
    return {{"mean", found.mean}, {"sd", found.sd ? json(*found.sd) : json()}};
}

std::string cell(const json& found, const ComparedFigure& figure) {
    if (found.is_null()) return "-";
    Statistics shown{found.at("mean").get<double>()};
    if (const json& sd = found.at("sd"); !sd.is_null()) shown.sd = sd.get<double>();
    return to_string(shown, figure.digits, figure.scale);
}

bool is_column(const ComparedFigure& figure, const json& methods) {
    if (figure.column == nullptr) return false;
    return std::ranges::any_of(methods, [&](const json& method) {
        return !method.at(figure.name).is_null() &&
               (!figure.of_best_epoch() || method.at("epochs").get<std::int64_t>() > 1);
    });
}

}  // namespace

json comparison_row(const std::string& method, const std::vector<json>& summaries) {
    std::size_t epochs = 0;
    for (const json& summary : summaries)
        epochs = std::max(epochs, summary.value("epochs", json()).size());
    json row{{"method", method}, {"seeds", summaries.size()}, {"epochs", epochs}};
    for (const ComparedFigure& figure : figures) row[figure.name] = over_seeds(summaries, figure);
    return row;
}

Table comparison_table(const json& document) {
    Table table;
    table.rows.push_back({"method"});
    const json& methods = document.at("methods");
    const json& majority = document.at("majority_baseline");
    for (const json& method : methods) table.rows.push_back({method.at("method")});
    if (!majority.is_null()) table.rows.push_back({"majority class"});
    for (const ComparedFigure& figure : figures) {
        if (!is_column(figure, methods)) continue;
        std::size_t row = 0;
        table.rows[row].emplace_back(figure.column);
        for (const json& method : methods)
            table.rows[++row].push_back(cell(method.at(figure.name), figure));
        if (majority.is_null()) continue;
        const auto baseline = majority.find(figure.name);
        table.rows[++row].push_back(
            baseline == majority.end()
                ? "-"
                : to_string({baseline->get<double>()}, figure.digits, figure.scale));
    }
    return table;
}

}  // namespace slimgrad
