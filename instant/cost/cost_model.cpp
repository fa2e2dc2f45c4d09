#include "instant/cost/cost_model.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "instant/cost/break_even.h"
#include "instant/methods/options.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

std::int64_t axis(const LinearShape& layer, Side side, std::int64_t channels) {
    return side == Side::token ? layer.tokens : channels;
}

/// False for what has no axis to shorten, or must not be touched.
bool can_compress(const LinearShape& layer, std::int64_t min_tokens = 2) {
    return layer.compressible && layer.tokens >= min_tokens;
}

/// Which products a convention counts: the paper's both, of a frozen W with an adapter g_x alone.
Counted counted(const LinearShape& layer, Convention convention, bool shares_x) {
    const bool paper = convention == Convention::paper;
    return {.gw = layer.needs_gw || (paper && !layer.adapted),
            .gx = layer.needs_gx || paper,
            .shares_x = shares_x && !paper,
            .as_published = paper};
}

/// The output channels of all layers that share one x for their g_w, by group.
std::map<std::string, Checked> outputs_of_groups(const std::vector<LinearShape>& layers) {
    std::map<std::string, Checked> outputs;
    for (const LinearShape& layer : layers)
        if (layer.needs_gw) outputs[layer.input_group] += layer.out_channels;
    return outputs;
}

/// `group_out`: the output channels that share the layer's x.
Compression rule_of(const LinearShape& layer, const MethodOptions& options,
                    std::int64_t group_out) {
    validate(options);
    const Method& method = find_method(options.method);
    const Slots slots = calibrated_slots(options);
    Compression result;
    if (!can_compress(layer, options.min_tokens)) return result;
    if (method.closed_form) return method.closed_form(layer, options);
    require(!method.rule || slots.x || slots.g,
            "[cost] method '{}' has no closed form. Hint: train with it, its run counts",
            method.name);
    result.side_x = chosen_side(options.side_of_x(), layer.tokens, layer.in_channels);
    result.side_g = chosen_side(options.side_of_g(), layer.tokens, layer.out_channels);
    result.complement = own_or<std::int64_t>(options, complement_option(), 0);
    result.weighted_x =
        result.side_x == Side::token && own_or<bool>(options, weight_rows_option(), false);
    const auto choose = [&](const char* name, const std::optional<std::int64_t>& asked, Side side,
                            std::int64_t channels, std::int64_t out, auto& rank, auto& left) {
        require(asked.has_value(), "[cost] method '{}' needs {}", options.method, name);
        rank = std::min(*asked, axis(layer, side, channels));
        const double limit =
            break_even_rank(layer.tokens, layer.in_channels, out, side, options.batch);
        const std::int64_t rows = std::min(*rank + result.complement, axis(layer, side, channels));
        if (options.break_even == "vanilla" && static_cast<double>(rows) > limit)
            std::swap(rank, left);
    };
    if (slots.x)
        choose("rank_x", options.rank_x, result.side_x, layer.in_channels, group_out, result.rank_x,
               result.left_x);
    if (slots.g)
        choose("rank_g", options.rank_g, result.side_g, layer.out_channels, layer.out_channels,
               result.rank_g, result.left_g);
    return result;
}

Compression compression_of(const LinearShape& layer, const MethodOptions& options,
                           std::int64_t group_out) {
    Compression compression = rule_of(layer, options, group_out);
    compression.codec = tape_options(options).codec;
    return compression;
}

}  // namespace

CalibrationCost& CalibrationCost::operator+=(const CalibrationCost& other) {
    passes += other.passes;
    gram += other.gram;
    decomposition += other.decomposition;
    return *this;
}

Compression compression_of(const LinearShape& layer, const MethodOptions& options) {
    return compression_of(layer, options, layer.out_channels);
}

std::vector<Compression> compressions_of(const std::vector<LinearShape>& layers,
                                         const MethodOptions& options) {
    const auto outputs = outputs_of_groups(layers);
    std::vector<Compression> all;
    for (const LinearShape& layer : layers)
        all.push_back(compression_of(
            layer, options,
            layer.needs_gw ? outputs.at(layer.input_group) : Checked(layer.out_channels)));
    return all;
}

LinearCost linear_cost(const LinearShape& layer, const Compression& compression, std::int64_t batch,
                       Convention convention, bool shares_x) {
    return linear_cost(layer, compression, batch, counted(layer, convention, shares_x));
}

CalibrationCost calibration_cost(const LinearShape& layer, const Compression& compression,
                                 std::int64_t batch, std::int64_t batches, Convention convention,
                                 bool shares_x) {
    const Checked samples = Checked(batch) * batches, l = layer.tokens;
    CalibrationCost cost;
    const LinearCost pass = linear_cost(layer, {}, samples, convention);
    cost.passes = pass.forward + pass.g_w + pass.g_x;
    const auto slot = [&](Side side, std::int64_t channels) {
        const Checked n = axis(layer, side, channels);
        const Checked other = side == Side::token ? Checked(channels) : l;
        cost.gram += samples * 2 * n * n * other;
        cost.decomposition += 4 * n * n * n / 3;
    };
    if (compression.drawn) return cost;
    const Counted seen = counted(layer, convention, shares_x);
    // A slot that is left exact had its rank measured all the same.
    if ((compression.rank_x || compression.left_x) && seen.gw && !seen.shares_x)
        slot(compression.side_x, layer.in_channels);
    if ((compression.rank_g || compression.left_g) && seen.gx)
        slot(compression.side_g, layer.out_channels);
    return cost;
}

double break_even_rank(const LinearShape& layer, Side side, std::int64_t batch) {
    return break_even_rank(layer.tokens, layer.in_channels, layer.out_channels, side, batch);
}

ModelCost model_cost(const std::vector<LinearShape>& layers,
                     const std::vector<Compression>& compressions, std::int64_t batch,
                     Convention convention, std::int64_t calibrate_batches) {
    require(layers.size() == compressions.size(),
            "[cost] {} layers need as many compressions, got {}", layers.size(),
            compressions.size());
    const bool paper = convention == Convention::paper;
    const auto outputs = outputs_of_groups(layers);
    ModelCost model;
    bool calibrated = false;
    std::set<std::string> observed, kept;  // groups and buffers that a layer before accounts for
    for (std::size_t i = 0; i < layers.size(); ++i) {
        const LinearShape& layer = layers[i];
        const Compression& c = compressions[i];
        if (!layer.needs_gw && !layer.needs_gx && !layer.adapted) continue;
        const Counted seen = counted(layer, convention, false);
        const std::string& held = layer.held_group.empty() ? layer.input_group : layer.held_group;
        const std::string what =
            c.rank_x || c.form ? "P x of " + layer.input_group : "x of " + held;
        const bool shares_x = layer.needs_gw && !kept.insert(what).second;
        const bool shares_gram = layer.needs_gw && !observed.insert(layer.input_group).second;
        ModelCost::Row row{
            layer, c, linear_cost(layer, c, batch, convention, shares_x),
            calibration_cost(layer, c, batch, calibrate_batches, convention, shares_gram)};
        const std::int64_t out =
            paper || !layer.needs_gw ? Checked(layer.out_channels) : outputs.at(layer.input_group);
        if (can_compress(layer) && seen.gw)
            row.break_even_x =
                break_even_rank(layer.tokens, layer.in_channels, out, c.side_x, batch);
        if (can_compress(layer) && seen.gx)
            row.break_even_g = break_even_rank(layer, c.side_g, batch);
        calibrated = calibrated || (!c.drawn && (c.rank_x || c.rank_g || c.left_x || c.left_g));
        model.total += row.cost;
        model.calibration += row.calibration;
        model.rows.push_back(std::move(row));
    }
    if (!calibrated) {
        model.calibration = {};
        for (ModelCost::Row& row : model.rows) row.calibration = {};
    }
    return model;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
