#include "cli/snr_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

namespace slimgrad::cli {
namespace {

using nlohmann::json;

json number(double value) {
    if (std::isnan(value)) return nullptr;
    if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
    return value;
}

void add(json& row, const char* prefix, const SnrMeasured& measured) {
    const std::string name = prefix;
    row[name] = number(measured.value);
    row[name + "_low"] = number(measured.low);
    row[name + "_high"] = number(measured.high);
}

/// Up to the rounding of float: at full rank the interval is a point.
bool inside(double value, const SnrMeasured& measured) {
    constexpr double rounding = 1e-5;
    return measured.low * (1 - rounding) <= value && value <= measured.high * (1 + rounding);
}

std::string cell(const json& row, const char* key) {
    const json& entry = row.at(key);
    if (entry.is_null()) return "–";
    if (entry.is_string()) return entry.get<std::string>();
    if (entry.is_number_integer()) return std::to_string(entry.get<std::int64_t>());
    if (entry.is_boolean()) return entry.get<bool>() ? "yes" : "no";
    return fmt::format("{:.4g}", entry.get<double>());
}

std::string interval(const json& row, const std::string& name) {
    return fmt::format("{} [{}, {}]", cell(row, name.c_str()), cell(row, (name + "_low").c_str()),
                       cell(row, (name + "_high").c_str()));
}

/// Geometric means of N numbers over rows; a row in which one of them has no logarithm is left out.
template <std::size_t N>
struct GeometricMeans {
    std::array<double, N> logs{};
    std::int64_t rows = 0;

    void add(std::array<double, N> values) {
        for (double& value : values) value = std::log(value);
        if (!std::ranges::all_of(values, [](double log) { return std::isfinite(log); })) return;
        for (std::size_t i = 0; i < N; ++i) logs[i] += values[i];
        ++rows;
    }
    double operator[](std::size_t i) const { return std::exp(logs[i] / static_cast<double>(rows)); }
};

json to_json(const GradientError& error) {
    if (error.empty()) return {{"error", nullptr}, {"cosine", nullptr}};
    return {{"error", number(error.relative())}, {"cosine", number(error.cosine())}};
}

}  // namespace

double value(const json& row, const char* key) {
    const json& entry = row.at(key);
    if (entry.is_number()) return entry.get<double>();
    if (entry == "inf") return std::numeric_limits<double>::infinity();
    return std::numeric_limits<double>::quiet_NaN();
}

json to_json(const SnrRow& row) {
    const SnrSubject& subject = *row.subject;
    const SnrTheory& t = row.theory;
    json out{{"name", subject.name},
             {"seed", subject.seed},
             {"L", subject.tokens},
             {"Cx", subject.in_channels},
             {"Cy", subject.out_channels},
             {"side", to_string(subject.modes.side)},
             {"dim", std::ssize(subject.modes.sigma)},
             {"epsilon", row.options.epsilon},
             {"oversample", row.options.oversample},
             {"rank", t.rank},
             {"alpha", number(t.alpha)},
             {"S", number(t.S)},
             {"N", number(t.N)},
             {"S_w", number(t.Sw)},
             {"N_w", number(t.Nw)},
             {"predicted", number(t.predicted)},
             {"exact", number(t.exact)},
             {"best_alpha", number(t.best_alpha)},
             {"best_alpha_w", number(t.best_alpha_w)},
             {"calibration_samples", subject.calibration_samples},
             {"samples", row.measured.samples},
             {"predicted_inside", inside(t.predicted, row.measured)},
             {"exact_inside", inside(t.exact, row.measured)}};
    add(out, "measured", row.measured);
    return out;
}

json to_json(const StalenessRow& row) {
    json out{{"steps", row.steps},
             {"oversample", row.oversample},
             {"name", row.layer},
             {"rank", row.rank},
             {"samples", row.stale.samples}};
    add(out, "stale", row.stale);
    add(out, "fresh", row.fresh);
    return out;
}

json to_json(const DirectionCounts& counts) {
    return {{"all", counts.all},
            {"sample", counts.sample},
            {"sample_max", counts.sample_max},
            {"energy", counts.energy}};
}

json to_json(const SpectrumRow& row) {
    return {{"name", row.name},
            {"L", row.tokens},
            {"Cy", row.out_channels},
            {"side", to_string(row.side)},
            {"dim", row.dim},
            {"epsilon", row.epsilon},
            {"eigenvalues", to_json(row.eigenvalues)},
            {"singular_values", to_json(row.singular_values)},
            {"samples", row.samples}};
}

json to_json(const ErrorStudy& study) {
    json out = json::array();
    for (std::size_t i = 0; i < study.local.size(); ++i) {
        const LayerError &local = study.local[i], &all = study.accumulated[i];
        out.push_back({{"name", local.name},
                       {"local", {{"gx", to_json(local.gx)}, {"gw", to_json(local.gw)}}},
                       {"accumulated", {{"gx", to_json(all.gx)}, {"gw", to_json(all.gw)}}}});
    }
    return out;
}

Cells ratio_table(const json& rows) {
    Cells cells{{"name", "seed", "epsilon", "p", "R of", "n", "alpha", "predicted", "exact",
                 "measured [interval]", "predicted in", "exact in", "predicted/measured"}};
    for (const json& row : rows) {
        const double off = value(row, "predicted") / value(row, "measured");  // NaN: both infinite
        cells.push_back(
            {cell(row, "name"), cell(row, "seed"), cell(row, "epsilon"), cell(row, "oversample"),
             cell(row, "rank"), cell(row, "dim"), cell(row, "alpha"), cell(row, "predicted"),
             cell(row, "exact"), interval(row, "measured"), cell(row, "predicted_inside"),
             cell(row, "exact_inside"), std::isnan(off) ? "–" : fmt::format("{:.3g}", off)});
    }
    return cells;
}

json means_of_layers(const json& rows) {
    struct Choice {
        std::int64_t layers = 0;
        double rank = 0;
        GeometricMeans<3> ratios;
    };
    std::map<std::pair<double, std::int64_t>, Choice> choices;
    for (const json& row : rows) {
        Choice& choice = choices[{row.at("epsilon"), row.at("oversample")}];
        ++choice.layers;
        choice.rank += value(row, "rank");
        choice.ratios.add({value(row, "predicted"), value(row, "exact"), value(row, "measured")});
    }
    json means = json::array();
    for (const auto& [key, choice] : choices)
        means.push_back({{"epsilon", key.first},
                         {"oversample", key.second},
                         {"layers", choice.layers},
                         {"finite", choice.ratios.rows},
                         {"mean_rank", choice.rank / static_cast<double>(choice.layers)},
                         {"predicted", number(choice.ratios[0])},
                         {"exact", number(choice.ratios[1])},
                         {"measured", number(choice.ratios[2])}});
    return means;
}

Cells means_table(const json& means) {
    Cells cells{{"epsilon", "p", "mean R", "predicted", "exact", "measured", "finite in"}};
    for (const json& mean : means)
        cells.push_back({cell(mean, "epsilon"), cell(mean, "oversample"), cell(mean, "mean_rank"),
                         cell(mean, "predicted"), cell(mean, "exact"), cell(mean, "measured"),
                         fmt::format("{} of {}", value(mean, "finite"), value(mean, "layers"))});
    return cells;
}

Cells spectrum_table(const json& rows) {
    Cells cells{{"layer", "side", "n", "epsilon", "eigenvalues of C", "of one sample", "at most",
                 "singular values of g", "of one sample", "at most", "first eigenvalue holds",
                 "first 10"}};
    for (const json& row : rows) {
        const json &eigen = row.at("eigenvalues"), &singular = row.at("singular_values");
        const auto share = [&](std::size_t count) {
            const json& energy = eigen.at("energy");
            return fmt::format("{:.1f} %",
                               100 * energy.at(std::min(count, energy.size()) - 1).get<double>());
        };
        cells.push_back({cell(row, "name"), cell(row, "side"), cell(row, "dim"),
                         cell(row, "epsilon"), cell(eigen, "all"),
                         fmt::format("{:.1f}", value(eigen, "sample")), cell(eigen, "sample_max"),
                         cell(singular, "all"), fmt::format("{:.1f}", value(singular, "sample")),
                         cell(singular, "sample_max"), share(1), share(10)});
    }
    return cells;
}

Cells seeds_table(const json& rows) {
    std::map<std::pair<double, std::int64_t>, std::vector<json>> groups;
    for (const json& row : rows) groups[{row.at("epsilon"), row.at("oversample")}].push_back(row);
    Cells cells{{"epsilon", "p", "R", "alpha", "predicted", "exact", "predicted/exact",
                 "predicted inside", "exact inside"}};
    for (const auto& [choice, group] : groups) {
        std::int64_t predicted = 0, exact = 0;
        for (const json& row : group) {
            predicted += row.at("predicted_inside").get<bool>() ? 1 : 0;
            exact += row.at("exact_inside").get<bool>() ? 1 : 0;
        }
        const json& row = group.front();  // the population is the same under every seed
        cells.push_back({cell(row, "epsilon"), cell(row, "oversample"), cell(row, "rank"),
                         cell(row, "alpha"), cell(row, "predicted"), cell(row, "exact"),
                         fmt::format("{:.4g}", value(row, "predicted") / value(row, "exact")),
                         fmt::format("{} of {}", predicted, group.size()),
                         fmt::format("{} of {}", exact, group.size())});
    }
    return cells;
}

Cells error_table(const json& errors) {
    Cells cells{{"layer", "g_x alone", "cosine", "g_w alone", "cosine", "g_x through depth",
                 "cosine", "g_w through depth", "cosine"}};
    for (const json& row : errors) {
        std::vector<std::string> line{row.at("name").get<std::string>()};
        for (const char* kind : {"local", "accumulated"})
            for (const char* gradient : {"gx", "gw"})
                for (const char* what : {"error", "cosine"})
                    line.push_back(cell(row.at(kind).at(gradient), what));
        cells.push_back(line);
    }
    return cells;
}

StalenessMeans geometric_means(const json& rows) {
    std::map<std::pair<std::int64_t, std::int64_t>, GeometricMeans<2>> sums;
    for (const json& row : rows)
        sums[{row.at("oversample"), row.at("steps")}].add(
            {value(row, "stale"), value(row, "fresh")});
    StalenessMeans means;
    for (const auto& [key, mean] : sums)
        if (mean.rows > 0) means[key.first][key.second] = {mean[0], mean[1]};
    return means;
}

Cells staleness_table(const json& rows) {
    const StalenessMeans means = geometric_means(rows);
    Cells cells{{"steps since calibration"}};
    if (means.empty()) return cells;
    for (const auto& [oversample, line] : means)
        for (const char* what : {"stale", "calibrated now"})
            cells[0].push_back(fmt::format("p = {}, {}", oversample, what));
    for (const auto& [steps, first] : means.begin()->second) {
        std::vector<std::string> line{std::to_string(steps)};
        for (const auto& [oversample, by_steps] : means) {
            const auto found = by_steps.find(steps);
            for (const bool stale : {true, false})
                line.push_back(found == by_steps.end()
                                   ? "–"
                                   : fmt::format("{:.4g}", stale ? found->second.first
                                                                 : found->second.second));
        }
        cells.push_back(line);
    }
    return cells;
}

std::string csv(const json& rows) {
    if (rows.empty()) return "";
    const auto line = [](const std::vector<std::string>& fields) {
        return fmt::format("{}\n", fmt::join(fields, ","));
    };
    std::string out;
    for (const json& row : rows) {
        const json flat = row.flatten();
        std::vector<std::string> names, fields;
        for (const auto& [key, entry] : flat.items()) {
            names.push_back(key.substr(1));
            fields.push_back(entry.is_null() ? "nan" : entry == "inf" ? "inf" : entry.dump());
        }
        if (out.empty()) out = line(names);
        out += line(fields);
    }
    return out;
}

}  // namespace slimgrad::cli
