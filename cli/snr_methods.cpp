#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "cli/snr_output.h"
#include "cli/snr_sources.h"
#include "train/method_study.h"

namespace slimgrad::cli {
namespace {

using nlohmann::json;

json number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }
json number(const std::optional<double>& value) { return value ? number(*value) : json(nullptr); }

json to_json(const DrawErrors& errors, double confidence) {
    json out = json::object();
    if (errors.empty()) return out;
    const std::pair<const char*, Estimate> parts[] = {{"error", errors.error(confidence)},
                                                      {"bias", errors.bias(confidence)},
                                                      {"variance", errors.variance(confidence)}};
    for (const auto& [name, estimate] : parts) {
        out[name] = number(estimate.value);
        out[name + std::string("_margin")] = number(estimate.margin);
    }
    return out;
}

/// Over the layers that make a gradient: the geometric mean of its error, and the mean share of the
/// error that is bias.
void put_means(json& row, const std::string& name, const MethodQuality& point,
               DrawErrors LayerDraws::*gradient) {
    double logs = 0, shares = 0;
    int layers = 0, wrong = 0;
    for (const LayerDraws& layer : point.layers) {
        const DrawErrors& errors = layer.*gradient;
        if (errors.empty()) continue;
        const double error = errors.error().value;
        ++layers;
        if (!(error > 0)) continue;
        logs += std::log(error);
        shares += errors.bias().value / error;
        ++wrong;
    }
    const bool exact = layers > 0 && wrong == 0;
    row[name + "_error"] = exact ? json(0.0) : number(std::exp(logs / wrong));
    row[name + "_bias_share"] = wrong == 0 ? json(nullptr) : number(shares / wrong);
}

json means_of(const MethodQuality& point) {
    json row{{"method", point.method},
             {"rank", point.rank ? json(*point.rank) : json(nullptr)},
             {"flops", number(point.flops)},
             {"bytes", number(point.bytes)}};
    put_means(row, "gx", point, &LayerDraws::gx);
    put_means(row, "gw", point, &LayerDraws::gw);
    return row;
}

Cells quality_table(const json& means) {
    const auto cell = [](const json& value) {
        return value.is_null() ? "–" : fmt::format("{:.3g}", value.get<double>());
    };
    const auto percent = [](const json& share) {
        return share.is_null() ? "–" : fmt::format("{:.0f} %", 100 * share.get<double>());
    };
    const auto less = [](const json& share) {
        return share.is_null() ? "–" : fmt::format("{:.2f}×", 1 / share.get<double>());
    };
    Cells cells{{"method", "R", "err² of g_x", "of it bias", "err² of g_w", "of it bias",
                 "fewer FLOPs", "fewer bytes"}};
    for (const json& row : means)
        cells.push_back({row["method"], cell(row["rank"]), cell(row["gx_error"]),
                         percent(row["gx_bias_share"]), cell(row["gw_error"]),
                         percent(row["gw_bias_share"]), less(row["flops"]), less(row["bytes"])});
    return cells;
}

/// A line a method, and the points in the order of `x`.
LineChart quality_chart(const json& means, const char* y, const char* x, const char* x_label) {
    LineChart chart{
        .title = fmt::format("Error of {} against vanilla's, squared", y[1] == 'x' ? "g_x" : "g_w"),
        .x_label = x_label,
        .y_label = "err², geometric mean over layers",
        .series = {},
        .log_y = true};
    for (const json& row : means) {
        const double at = value(row, x), error = value(row, y);
        if (!std::isfinite(at) || !(error > 0)) continue;
        const std::string& method = row["method"].get_ref<const std::string&>();
        auto line = std::ranges::find(chart.series, method, &Series::label);
        if (line == chart.series.end())
            line = chart.series.insert(line, {.label = method, .x = {}, .y = {}});
        line->x.push_back(at);
        line->y.push_back(error);
    }
    return chart;
}

/// Geometric means over the layers, by rank.
json range_finder_means(const MethodStudy& study) {
    json rows = json::array();
    for (std::size_t i = 0; i < study.layers.front().losses.size(); ++i) {
        const auto mean = [&](double RangeFinderLoss::*loss) {
            double logs = 0;
            for (const MethodStudy::Layer& layer : study.layers)
                logs += std::log(layer.losses[i].*loss);
            return number(std::exp(logs / static_cast<double>(study.layers.size())));
        };
        rows.push_back({{"rank", study.layers.front().losses[i].rank},
                        {"bound", mean(&RangeFinderLoss::bound)},
                        {"sketch", mean(&RangeFinderLoss::sketched)},
                        {"power", mean(&RangeFinderLoss::powered)},
                        {"optimum", mean(&RangeFinderLoss::optimum)}});
    }
    return rows;
}

Cells range_finder_table(const json& rows) {
    Cells cells{{"R", "bound", "sketch", "with a power step", "optimum"}};
    for (const json& row : rows) {
        cells.push_back({fmt::format("{}", row["rank"].get<std::int64_t>())});
        for (const char* key : {"bound", "sketch", "power", "optimum"})
            cells.back().push_back(
                row[key].is_null() ? "–" : fmt::format("{:.3g}", row[key].get<double>()));
    }
    return cells;
}

void keep_layer(MethodStudy& study, const std::string& name) {
    std::vector<std::string> known;
    for (const MethodStudy::Layer& layer : study.layers) known.push_back(layer.name);
    std::erase_if(study.layers, [&](const auto& layer) { return layer.name != name; });
    require(!study.layers.empty(), "[snr] unknown layer '{}'. Known: {}", name,
            fmt::join(known, ", "));
    for (MethodQuality& point : study.points)
        std::erase_if(point.layers, [&](const auto& layer) { return layer.name != name; });
}

}  // namespace

void add_methods(const SnrRequest& o, RunProbe& run, const RunStudyOptions& options,
                 SnrFindings& found) {
    MethodStudy study = method_study(run, {o.methods, o.ranks, o.draws, options});
    if (!o.layer.empty()) keep_layer(study, o.layer);
    json rows = json::array(), means = json::array();
    for (const MethodQuality& point : study.points) {
        means.push_back(means_of(point));
        for (const LayerDraws& layer : point.layers)
            rows.push_back({{"method", point.method},
                            {"rank", point.rank ? json(*point.rank) : json(nullptr)},
                            {"name", layer.name},
                            {"gx", to_json(layer.gx, o.confidence)},
                            {"gw", to_json(layer.gw, o.confidence)}});
    }
    const json range_finder = range_finder_means(study);
    found.document["rows"] = rows;
    found.document["means"] = means;
    found.document["range_finder"] = range_finder;
    found.document["rank_one"] = study.rank_one;
    found.add({.id = "methods",
               .title = "Gradients of every method",
               .caption = fmt::format(
                   "Each of {} layers alone, given its exact x and g_y, on {} fresh batches and {} "
                   "draws: geometric means of ‖ĝ − g‖² / ‖g‖². FLOPs are those of backward of the "
                   "linear maps, bytes what these keep, both in closed form and without "
                   "calibration. optimum: each sample's own leading singular vectors.",
                   study.layers.size(), options.batches, o.draws),
               .table = quality_table(means)});
    const struct {
        const char *id, *y, *x, *label;
    } charts[] = {
        {"gx-flops", "gx_error", "flops", "FLOPs of backward, share of vanilla's"},
        {"gw-flops", "gw_error", "flops", "FLOPs of backward, share of vanilla's"},
        {"gw-bytes", "gw_error", "bytes", "bytes kept by linear maps, share of vanilla's"},
        {"gx-rank", "gx_error", "rank", "R"},
        {"gw-rank", "gw_error", "rank", "R"}};
    for (const auto& chart : charts) {
        Figure figure{.id = chart.id, .title = "", .caption = ""};
        figure.chart = quality_chart(means, chart.y, chart.x, chart.label);
        figure.title = figure.chart->title;
        figure.caption = "Below and to the left is better.";
        found.add(std::move(figure));
    }
    found.add({.id = "range-finder",
               .title = "What R directions of each sample's own lose of g_y",
               .caption =
                   "Shares of Σ ‖g_b‖², geometric means over layers. The bound is that of Halko, "
                   "Martinsson and Tropp (2011), theorem 10.5, for a sketch without power step.",
               .table = range_finder_table(range_finder)});
    if (!study.rank_one.empty())
        found.notes.push_back(fmt::format("left out, since their gradients have one direction: {}",
                                          fmt::join(study.rank_one, ", ")));
}

}  // namespace slimgrad::cli
