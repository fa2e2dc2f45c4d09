#include "cli/snr_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "cli/snr_output.h"

namespace slimgrad::cli {
namespace {

using nlohmann::json;

Series series(const std::string& label, const json& rows, const char* x, const std::string& y,
              bool band = false) {
    Series s{.label = label, .x = {}, .y = {}};
    for (const json& row : rows) {
        s.x.push_back(value(row, x));
        s.y.push_back(value(row, y.c_str()));
        if (!band) continue;
        s.low.push_back(value(row, (y + "_low").c_str()));
        s.high.push_back(value(row, (y + "_high").c_str()));
    }
    return s;
}

}  // namespace

LineChart sweep_chart(const json& rows, const std::string& axis) {
    LineChart chart{.title = "Signal-to-noise ratio of the compressed g_x",
                    .x_label = axis == "alpha"     ? "alpha, the scale of the projection"
                               : axis == "epsilon" ? "epsilon, the share of energy that R keeps"
                                                   : "p, directions added to the rank",
                    .y_label = "signal-to-noise ratio",
                    .series = {series("measured (eq. 20)", rows, axis.c_str(), "measured", true),
                               series("predicted (eq. 31)", rows, axis.c_str(), "predicted"),
                               series("exact", rows, axis.c_str(), "exact")}};
    chart.log_y = axis != "alpha";
    if (axis == "epsilon")  // the breaks of Fig. 7: no line from one rank to the next
        for (Series& s : chart.series)
            for (std::size_t i = 1; i < rows.size(); ++i)
                if (rows[i]["rank"] != rows[i - 1]["rank"]) s.y[i - 1] = std::nan("");
    if (axis == "alpha" && !rows.empty()) {
        chart.marks.emplace_back(value(rows[0], "best_alpha"), "1 + N/S");
        chart.marks.emplace_back(1 / value(rows[0], "epsilon"), "1/epsilon");
        if (std::abs(value(rows[0], "best_alpha_w") / value(rows[0], "best_alpha") - 1) > 0.02)
            chart.marks.emplace_back(value(rows[0], "best_alpha_w"), "1 + N_w/S_w");
    }
    return chart;
}

LineChart layer_chart(const json& rows) {
    LineChart chart{.title = "Signal-to-noise ratio of g_x, by layer",
                    .x_label = "layer",
                    .y_label = "signal-to-noise ratio",
                    .series = {},
                    .log_y = true};
    Series measured{.label = "measured on fresh batches", .x = {}, .y = {}, .line = false};
    Series predicted{.label = "predicted (eq. 31)", .x = {}, .y = {}, .line = false};
    Series exact{.label = "exact, calibration batches", .x = {}, .y = {}, .line = false};
    for (const json& row : rows) {
        const auto x = static_cast<double>(chart.categories.size());
        chart.categories.push_back(row.at("name"));
        for (auto& [s, key, shift] :
             {std::tuple<Series&, const char*, double>{measured, "measured", 0},
              {predicted, "predicted", -0.2},
              {exact, "exact", 0.2}}) {
            s.x.push_back(x + shift);
            s.y.push_back(value(row, key));
        }
        measured.low.push_back(value(row, "measured_low"));
        measured.high.push_back(value(row, "measured_high"));
    }
    chart.series = {measured, predicted, exact};
    return chart;
}

LineChart error_chart(const json& errors, const std::string& gradient) {
    LineChart chart{.title = fmt::format("Relative error of {} against vanilla",
                                         gradient == "gx" ? "g_x" : "g_w"),
                    .x_label = "layer, first to last",
                    .y_label = "relative error",
                    .series = {{.label = "layer alone", .x = {}, .y = {}},
                               {.label = "through depth", .x = {}, .y = {}}}};
    for (const json& row : errors) {
        const auto x = static_cast<double>(chart.categories.size());
        chart.categories.push_back(row.at("name"));
        for (const std::size_t i : {0u, 1u}) {
            chart.series[i].x.push_back(x);
            chart.series[i].y.push_back(
                value(row.at(i == 0 ? "local" : "accumulated").at(gradient), "error"));
        }
    }
    return chart;
}

LineChart staleness_chart(const json& rows) {
    LineChart chart{.title = "Signal-to-noise ratio after calibration",
                    .x_label = "steps of training since calibration",
                    .y_label = "SNR, geometric mean over layers",
                    .series = {}};
    for (const auto& [oversample, line] : geometric_means(rows)) {
        Series stale{.label = fmt::format("p = {}, stale", oversample), .x = {}, .y = {}};
        Series fresh{.label = fmt::format("p = {}, calibrated now", oversample), .x = {}, .y = {}};
        for (const auto& [steps, means] : line) {
            stale.x.push_back(static_cast<double>(steps));
            stale.y.push_back(means.first);
            fresh.x.push_back(static_cast<double>(steps));
            fresh.y.push_back(means.second);
        }
        chart.series.push_back(stale);
        chart.series.push_back(fresh);
    }
    return chart;
}

LineChart spectrum_chart(const json& rows) {
    LineChart chart{.title = "Values that hold a share of the energy of g_y",
                    .x_label = "layer, first to last",
                    .y_label = "values",
                    .series = {},
                    .log_y = true};
    for (const json& row : rows) {
        const std::string& name = row.at("name").get_ref<const std::string&>();
        if (std::ranges::find(chart.categories, name) == chart.categories.end())
            chart.categories.push_back(name);
    }
    const struct {
        const char *values, *count, *label;
    } lines[] = {{"eigenvalues", "all", "eigenvalues, all samples"},
                 {"eigenvalues", "sample", "eigenvalues, one sample"},
                 {"singular_values", "sample", "singular values, one sample"}};
    std::map<double, std::vector<json>> by_epsilon;
    for (const json& row : rows) by_epsilon[value(row, "epsilon")].push_back(row);
    for (const auto& [epsilon, group] : by_epsilon)
        for (const auto& line : lines) {
            chart.series.push_back(
                {.label = fmt::format("epsilon = {}: {}", epsilon, line.label), .x = {}, .y = {}});
            for (std::size_t i = 0; i < group.size(); ++i) {
                chart.series.back().x.push_back(static_cast<double>(i));
                chart.series.back().y.push_back(value(group[i].at(line.values), line.count));
            }
        }
    return chart;
}

}  // namespace slimgrad::cli
