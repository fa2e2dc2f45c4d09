#include "train/summary.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "instant/cost/cost_model.h"
#include "tensor/blas.h"
#include "train/rank_history.h"

namespace slimgrad {
namespace {

using nlohmann::json;

json flops_json(const Measurements& m, const std::set<std::string>& linear_names) {
    std::map<std::string, std::int64_t> all, linear;
    for (const char* phase :
         {"forward", "bias", "compress", "g_w", "g_x", "g_b", "calibrate", "optimizer"})
        all[phase] = 0;
    std::int64_t total = 0, backward = 0, products = 0;
    static const std::set<std::string> outside = {"forward", "bias", "calibrate", "optimizer"};
    static const std::set<std::string> slots = {"compress", "g_w", "g_x"};
    for (const auto& [key, count] : m.flops) {
        const auto& [layer, phase] = key;
        all[phase == "backward" ? "backward_other" : phase] += count;
        const bool is_linear = linear_names.contains(layer);
        if (is_linear) linear[phase] += count;
        if (phase == "evaluate") continue;
        total += count;
        if (!outside.contains(phase)) backward += count;
        if (is_linear && slots.contains(phase)) products += count;
    }
    json flops = all;
    flops["linear"] = linear;
    flops["backward_linear"] = products;
    flops["backward_linear_with_calibration"] = products + all["calibrate"];
    flops["backward"] = backward;
    flops["backward_with_calibration"] = backward + all["calibrate"];
    flops["total"] = total;
    return flops;
}

/// Bytes or tokens a sample: an integer where every step held the same.
json per_sample(std::int64_t bytes, std::int64_t samples) {
    if (samples == 0) return 0;
    if (bytes % samples == 0) return bytes / samples;
    return static_cast<double>(bytes) / static_cast<double>(samples);
}

json bytes_json(const Measurements& m, const std::set<std::string>& linear_names) {
    const auto peak = [&](const char* what) {
        const auto found = m.peaks.find(what);
        return found == m.peaks.end() ? 0 : found->second;
    };
    std::int64_t saved = 0, saved_linear = 0;
    for (const auto& [layer, bytes] : m.saved) {
        saved += bytes;
        if (linear_names.contains(layer)) saved_linear += bytes;
    }
    return {{"saved_per_sample", per_sample(saved, m.samples)},
            {"saved_per_sample_linear", per_sample(saved_linear, m.samples)},
            {"saved_peak", peak("saved")},
            {"projectors", peak("projectors")},
            {"parameters", peak("parameters")},
            {"gradients", peak("gradients")},
            {"optimizer", peak("optimizer")},
            {"workspace", peak("workspace")},
            {"peak", peak("total")},
            {"rss_peak", peak("rss")}};
}

/// The break-even ranks of the slots that a layer has.
struct BreakEvens {
    std::optional<double> x, g;
};

/// One slot of a layer: what the last calibration found, and its ranks over all of them.
void put_ranks(json& layer, const std::string& slot, const std::optional<CalibratedSlot>& last,
               const Measurements::SlotRanks& all) {
    layer["rank_" + slot] = nullptr;
    if (last) put_slot(layer, slot, *last);
    if (all.count > 0) {
        layer["mean_rank_" + slot] = static_cast<double>(all.sum) / static_cast<double>(all.count);
        layer["min_rank_" + slot] = all.least;
        layer["max_rank_" + slot] = all.most;
    }
    if (all.left > 0) layer["calibrations_left_vanilla_" + slot] = all.left;
}

/// A slot whose rank no calibration chooses.
void put_fixed_rank(json& layer, const std::string& slot, const std::optional<std::int64_t>& rank,
                    Side side) {
    if (!rank) return;
    for (const char* key : {"rank_", "mean_rank_"}) layer[key + slot] = *rank;
    layer["side_" + slot] = to_string(side);
}

json layer_json(const LinearShape& shape, const BreakEvens& limits, const LayerRanks& last,
                const Compression& fixed, const Measurements& m) {
    json layer{{"name", shape.name},
               {"L", shape.tokens},
               {"Cx", shape.in_channels},
               {"Cy", shape.out_channels},
               {"input_group", shape.input_group},
               {"needs_gx", shape.needs_gx},
               {"needs_gw", shape.needs_gw},
               {"side", nullptr},
               {"break_even_x", nullptr},
               {"break_even_g", nullptr}};
    if (limits.x) layer["break_even_x"] = *limits.x;
    if (limits.g) layer["break_even_g"] = *limits.g;
    const auto found = m.ranks.find(shape.name);
    const Measurements::Ranks all = found == m.ranks.end() ? Measurements::Ranks{} : found->second;
    put_ranks(layer, "x", last.x, all.x);
    put_ranks(layer, "g", last.g, all.g);
    put_fixed_rank(layer, "x", fixed.rank_x, fixed.side_x);
    if (shape.needs_gx) put_fixed_rank(layer, "g", fixed.rank_g, fixed.side_g);
    if (const auto sketch = m.sketches.find(shape.name); sketch != m.sketches.end()) {
        layer["sketch"] = sketch_json(sketch->second);
        if (!layer["sketch"]["rank"].is_null()) layer["mean_rank_g"] = layer["sketch"]["rank"];
    }
    if (last.side_x || last.side_g)
        layer["side"] = to_string(last.side_x ? *last.side_x : *last.side_g);
    if (!last.note.empty()) layer["note"] = last.note;
    if (const auto saved = m.saved.find(shape.name); saved != m.saved.end())
        layer["saved_per_sample"] = per_sample(saved->second, m.samples);
    else
        layer["saved_per_sample"] = 0;
    for (const char* phase : {"forward", "compress", "g_w", "g_x"}) {
        const auto count = m.flops.find({shape.name, phase});
        layer["flops"][phase] = count == m.flops.end() ? 0 : count->second;
    }
    return layer;
}

/// One for each layer; of a method that calibrates, or whose form is not known, nothing.
std::vector<Compression> fixed_compressions(const TrainConfig& config,
                                            const std::vector<LinearShape>& shapes) {
    const Method& method = find_method(config.method);
    if (calibrated_slots(config).any() || !method.closed_form)
        return std::vector<Compression>(shapes.size());
    return compressions_of(shapes, config.method_options());
}

/// Shapes are those of the first batch. Where texts are filled up to the longest of their batch,
/// the mean of all that were trained on stands for their length.
std::vector<LinearShape> of_the_run(std::vector<LinearShape> shapes, const TrainConfig& config,
                                    const Measurements& m) {
    if (config.pad == "fixed" || m.samples == 0) return shapes;
    const std::int64_t mean = (m.tokens + m.samples / 2) / m.samples;
    for (LinearShape& shape : shapes) {
        if (shape.tokens == 1) continue;
        shape.held_elements = shape.held_elements / shape.tokens * mean;
        shape.tokens = mean;
    }
    return shapes;
}

/// By layer, whatever the method compresses.
std::map<std::string, BreakEvens> break_evens(const TrainConfig& config,
                                              const std::vector<LinearShape>& shapes) {
    MethodOptions exact = config.method_options();  // for its sides
    exact.method = "vanilla";
    const ModelCost cost =
        model_cost(shapes, compressions_of(shapes, exact), config.batch, Convention::executed);
    std::map<std::string, BreakEvens> all;
    for (const ModelCost::Row& row : cost.rows)
        all[row.layer.name] = {row.break_even_x, row.break_even_g};
    return all;
}

/// The mean over the layers that have such a rank; null if none has.
json mean_rank(const json& layers, const char* key) {
    double sum = 0;
    int count = 0;
    for (const json& layer : layers)
        if (const auto rank = layer.find(key); rank != layer.end()) {
            sum += rank->get<double>();
            ++count;
        }
    return count > 0 ? json(sum / count) : json(nullptr);
}

/// Each metric at the end of the run, and at its best: the first epoch, from 1 on, that had it.
void put_scores(json& summary, const std::vector<Evaluation>& evaluations) {
    for (const auto& last : evaluations.back().scores) {
        const std::string& metric = last.first;
        const auto best = std::ranges::max_element(
            evaluations, {}, [&](const Evaluation& e) { return e.scores.at(metric); });
        summary[metric] = last.second;
        summary["best_" + metric] = best->scores.at(metric);
        summary["best_" + metric + "_epoch"] = best - evaluations.begin() + 1;
    }
}

}  // namespace

json environment() {
    const BlasInfo& info = blas();
    return {{"version", SLIMGRAD_VERSION},
            {"cpu", cpu_name()},
            {"kernels", info.kernels},
            {"blas", info.config},
            {"threads", threads()}};
}

json make_summary(const TrainConfig& config, const Measurements& m, std::int64_t steps,
                  const std::vector<LinearShape>& traced, const std::vector<LayerRanks>& ranks,
                  const Scores& baseline) {
    const std::vector<LinearShape> shapes = of_the_run(traced, config, m);
    std::set<std::string> linear_names;
    for (const LinearShape& shape : shapes) linear_names.insert(shape.name);

    json layers = json::array();
    std::map<std::string, BreakEvens> limits = break_evens(config, shapes);
    const std::vector<Compression> fixed = fixed_compressions(config, shapes);
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        const std::string& name = shapes[i].name;
        const auto last = std::ranges::find(ranks, name, &LayerRanks::name);
        layers.push_back(layer_json(shapes[i], limits[name],
                                    last == ranks.end() ? LayerRanks{} : *last, fixed[i], m));
    }
    json epochs = json::array();
    for (std::size_t i = 0; i < m.evaluations.size(); ++i) {
        json epoch = m.evaluations[i].scores;
        epoch["loss"] = m.evaluations[i].loss;
        epoch["train_loss"] = m.train_losses.at(i);
        epochs.push_back(epoch);
    }
    json seconds = m.seconds;
    double total = 0;
    for (const auto& [phase, time] : m.seconds) total += time;
    for (const char* phase : {"forward", "backward", "calibrate", "optimizer", "data", "evaluate"})
        if (!seconds.contains(phase)) seconds[phase] = 0.0;
    seconds["total"] = total;

    json where = environment();
    where["seed"] = config.seed;
    json summary{{"method", config.method},
                 {"model", config.model},
                 {"data", config.data},
                 {"accuracy", nullptr},
                 {"best_accuracy", nullptr},
                 {"majority_baseline", baseline},
                 {"steps", steps},
                 {"samples", m.samples},
                 {"batch", config.batch},
                 {"calibrations", m.calibrations},
                 {"flops", flops_json(m, linear_names)},
                 {"bytes", bytes_json(m, linear_names)},
                 {"seconds", seconds},
                 {"ranks",
                  {{"mean_x", mean_rank(layers, "mean_rank_x")},
                   {"mean_g", mean_rank(layers, "mean_rank_g")}}},
                 {"layers", layers},
                 {"epochs", epochs},
                 {"config", to_json(config)},
                 {"environment", where}};
    if (m.bit_choices > 0) summary["bits"] = {{"choices", m.bit_choices}, {"last", m.bits}};
    if (m.tokens > 0)
        summary["tokens"] = {{"per_sample", per_sample(m.tokens, m.samples)},
                             {"padding_per_sample", per_sample(m.padding, m.samples)}};
    if (!config.from.empty()) {
        summary["fresh"] = m.loaded.fresh;
        summary["unused"] = m.loaded.unused;
    }
    if (!m.evaluations.empty()) {
        put_scores(summary, m.evaluations);
        summary["loss"] = m.evaluations.back().loss;
        summary["train_loss"] = m.train_losses.back();
        summary["test_samples"] = m.evaluations.back().samples;
    }
    return summary;
}

}  // namespace slimgrad
