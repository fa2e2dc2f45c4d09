#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/snr_charts.h"
#include "cli/snr_output.h"
#include "cli/snr_sources.h"

namespace slimgrad::cli {
namespace {

using nlohmann::json;

/// Round numbers from 0.8 to well beyond the best scales, 1 among them, at most some 130.
std::vector<double> alpha_grid(const SnrTheory& theory) {
    const double best = std::max(theory.best_alpha, theory.best_alpha_w);
    const double top = std::isfinite(best) ? 1 + 2 * std::max(best - 1, 0.1) : 2;
    std::int64_t hundredths = 1;
    for (const std::int64_t step : {1, 2, 5, 10, 20, 50, 100, 1000, 10000})
        if ((top - 0.8) * 100 > 130 * static_cast<double>(hundredths)) hundredths = step;
    std::vector<double> grid;
    for (std::int64_t i = 80 / hundredths; static_cast<double>(i * hundredths) <= 100 * top; ++i)
        if (i > 0) grid.push_back(static_cast<double>(i * hundredths) / 100);
    return grid;
}

/// The choices of a sweep over one subject; every other option is the first of its list.
std::vector<SnrOptions> sweep_choices(const SnrRequest& o, const SnrSubject& subject) {
    const SnrOptions first =
        snr_choice(o, o.epsilon.front(), o.oversample.front(), subject.modes.side);
    std::vector<SnrOptions> choices;
    if (o.sweep == "epsilon") {
        for (int i = 0; i <= 498; ++i) {
            choices.push_back(first);
            choices.back().epsilon = 0.5 + 0.001 * i;
        }
    } else if (o.sweep == "oversample") {
        const auto dim = std::ssize(subject.modes.sigma);
        const std::int64_t rank = snr_theory(subject.modes, first).rank;
        for (std::int64_t p = 0; rank + p - first.oversample <= dim; ++p) {
            choices.push_back(first);
            choices.back().oversample = p;
        }
    } else {
        for (const double alpha : alpha_grid(snr_theory(subject.modes, first))) {
            choices.push_back(first);
            choices.back().alpha = alpha;
        }
    }
    return choices;
}

}  // namespace

void add_sweep(const SnrRequest& o, const SnrSubject& subject, SnrFindings& found) {
    json rows = json::array();
    for (const SnrOptions& options : sweep_choices(o, subject))
        rows.push_back(to_json(snr_row(subject, options)));
    const std::string axis = o.sweep == "offset" ? "alpha" : o.sweep;
    Figure figure{.id = "sweep-" + o.sweep,
                  .title = fmt::format("{}: sweep over {}", subject.name, axis),
                  .caption =
                      "One set of samples serves the whole sweep. The band is the "
                      "confidence interval of the measured ratio."};
    figure.chart = sweep_chart(rows, axis);
    json shown = json::array();
    if (o.sweep == "offset") {
        const auto most = [&](const char* key) {
            return *std::ranges::max_element(rows, {},
                                             [key](const json& row) { return value(row, key); });
        };
        found.document["grid_step"] = value(rows[1], "alpha") - value(rows[0], "alpha");
        for (const char* key : {"predicted", "exact", "measured"}) {
            const json row = most(key);
            found.document["maximum"][key] = {{"alpha", row["alpha"]}, {"snr", row[key]}};
            found.notes.push_back(fmt::format("{} is largest at alpha = {:.4g}: {:.4g}", key,
                                              value(row, "alpha"), value(row, key)));
        }
        found.notes.push_back(fmt::format(
            "1 + N/S = {:.4g}, 1 + N_w/S_w = {:.4g}, 1/epsilon = {:.4g}; grid step {:.2g}",
            value(rows[0], "best_alpha"), value(rows[0], "best_alpha_w"),
            1 / value(rows[0], "epsilon"), found.document["grid_step"].get<double>()));
    }
    // A line for each change of rank, or a few of many.
    const std::size_t every = o.sweep == "offset" ? 10 : 1;
    for (std::size_t i = 0; i < rows.size(); i += every)
        if (o.sweep != "epsilon" || shown.empty() || shown.back()["rank"] != rows[i]["rank"])
            shown.push_back(rows[i]);
    if (o.sweep == "epsilon")
        found.notes.push_back(
            fmt::format("{} values of epsilon choose {} ranks; each line is the first of its rank",
                        rows.size(), shown.size()));
    figure.table = ratio_table(shown);
    found.add(std::move(figure));
    found.document["rows"] = rows;
}

}  // namespace slimgrad::cli
