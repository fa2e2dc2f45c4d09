#include "train/report_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>
#include <sstream>
#include <system_error>

#include "data/file.h"
#include "tensor/error.h"
#include "train/run_directory.h"

namespace slimgrad::report {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
/// More points than this make a chart slower, not clearer.
constexpr std::size_t most_points = 300;

Json read_object(const std::string& file) {
    std::error_code none;
    require(std::filesystem::status(file, none).type() != std::filesystem::file_type::not_found,
            "[report] cannot read '{}'. Hint: a finished run holds config.json, metrics.jsonl and "
            "summary.json",
            file);
    Json json = read_json(file);
    require(json.is_object(), "[report] '{}': expected a JSON object, got {}", file,
            json.type_name());
    return json;
}

/// Throws Error unless a key that is there holds a text.
void expect_text(const Json& object, const char* key, const std::string& where) {
    const auto found = object.find(key);
    require(found == object.end() || found->is_string(),
            "[report] {}: expected a text as \"{}\", got {}", where, key,
            found == object.end() ? "" : found->type_name());
}

/// Means of consecutive points where there are too many.
Curve thinned(const Curve& curve) {
    const std::size_t width = (curve.size() + most_points - 1) / most_points;
    if (width <= 1) return curve;
    Curve thin;
    for (std::size_t begin = 0; begin < curve.size(); begin += width) {
        const std::size_t end = std::min(curve.size(), begin + width);
        double sum = 0;
        for (std::size_t i = begin; i < end; ++i) sum += curve[i].second;
        thin.emplace_back(curve[end - 1].first, sum / static_cast<double>(end - begin));
    }
    return thin;
}

/// Adds what the layers of one line of metrics.jsonl hold under a key; the least of them under
/// another one, where a layer has several.
void add_spread(const Json& layers, const char* key, double step, SpreadCurves& curves,
                const char* least_key = nullptr) {
    double sum = 0, least = 0, most = 0;
    int count = 0;
    for (const Json& layer : layers) {
        const double value = number(layer, {key});
        if (std::isnan(value)) continue;
        const double lowest = least_key ? number(layer, {least_key}) : value;
        sum += value;
        least = count == 0 ? lowest : std::min(least, lowest);
        most = std::max(most, value);
        ++count;
    }
    if (count == 0) return;
    curves.mean.emplace_back(step, sum / count);
    curves.least.emplace_back(step, least);
    curves.most.emplace_back(step, most);
}

void read_metrics(const std::string& file, Run& run) {
    std::istringstream in(read_text(file));
    std::string text;
    for (int line = 1; std::getline(in, text); ++line) {
        const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
        // A run that was killed may have left half a line at the end.
        if (json.is_discarded() && in.peek() == EOF) break;
        const std::string where = fmt::format("'{}', line {}", file, line);
        require(json.is_object(), "[report] {}: expected one JSON object", where);
        expect_text(json, "type", where);
        const double step = number(json, {"step"});
        if (std::isnan(step)) continue;
        const std::string type = json.value("type", "step");
        if (const double loss = number(json, {"loss"}); type == "step" && !std::isnan(loss))
            run.loss.emplace_back(step, loss);
        if (const double accuracy = number(json, {"accuracy"}); type == "epoch")
            run.accuracy.emplace_back(step, accuracy);
        if (type == "calibration" && json.contains("layers")) {
            add_spread(json["layers"], "rank_x", step, run.ranks_x);
            add_spread(json["layers"], "rank_g", step, run.ranks_g);
        }
        if (type == "sketch" && json.contains("layers")) {
            add_spread(json["layers"], "rank", step, run.ranks_g);
            add_spread(json["layers"], "kept", step, run.kept, "least_kept");
        }
    }
    run.loss = thinned(run.loss);
    for (SpreadCurves* spread : {&run.ranks_x, &run.ranks_g, &run.kept})
        for (Curve* curve : {&spread->mean, &spread->least, &spread->most})
            *curve = thinned(*curve);
}

std::string text_of(const Json& config, const std::string& key) {
    const auto value = config.find(key);
    if (value == config.end() || value->is_null()) return "";
    return value->is_string() ? value->get<std::string>() : value->dump();
}

}  // namespace

double number(const Json& json, std::initializer_list<const char*> path) {
    const Json* at = &json;
    for (const char* key : path) {
        if (!at->is_object() || !at->contains(key)) return nan;
        at = &(*at)[key];
    }
    return at->is_number() ? at->get<double>() : nan;
}

Statistics statistics(const Group& group, std::initializer_list<const char*> path) {
    std::vector<double> values;
    for (const Run& run : group.runs) values.push_back(number(run.summary, path));
    return slimgrad::statistics(values);
}

Run read_run(const std::string& directory) {
    const std::string summary = directory + "/summary.json";
    Run run{directory,
            read_object(config_file(directory).string()),
            read_object(summary),
            {},
            {},
            {},
            {},
            {}};
    for (const char* key : {"model", "data"})
        expect_text(run.config, key, fmt::format("'{}/config.json'", directory));
    if (const auto layers = run.summary.find("layers"); layers != run.summary.end())
        for (const Json& layer : *layers) {
            require(layers->is_array() && layer.is_object(),
                    "[report] '{}': expected an array of objects as \"layers\"", summary);
            expect_text(layer, "name", fmt::format("'{}', layers", summary));
        }
    read_metrics(directory + "/metrics.jsonl", run);
    return run;
}

std::vector<Group> group_runs(std::vector<Run> runs) {
    // The options that differ between runs, besides the method, the seed and where a run is stored.
    std::set<std::string> varying;
    for (const Run& run : runs)
        for (const auto& [key, value] : run.config.items())
            for (const Run& other : runs)
                if (text_of(other.config, key) != text_of(run.config, key)) varying.insert(key);
    for (const char* key : {"method", "seed", "out", "run"}) varying.erase(key);

    std::vector<Group> groups;
    for (Run& run : runs) {
        std::string method = text_of(run.summary, "method");
        std::string label = method;
        for (const std::string& key : varying)
            if (const std::string value = text_of(run.config, key); !value.empty())
                label += fmt::format(" · {} {}", key, value);
        auto group = std::find_if(groups.begin(), groups.end(),
                                  [&](const Group& g) { return g.label == label; });
        if (group == groups.end()) group = groups.insert(group, {label, method, {}});
        group->runs.push_back(std::move(run));
    }
    return groups;
}

}  // namespace slimgrad::report
