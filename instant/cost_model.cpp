#include "instant/cost_model.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace slimgrad::inline SLIMGRAD_PRECISION {
namespace {

// A byte count is in fp32 whatever the build: the tables of the papers are.
constexpr std::int64_t number_bytes = 4;

std::int64_t axis(const LinearShape& layer, Side side, std::int64_t channels) {
    return side == Side::token ? layer.tokens : channels;
}

Side shorter_axis(std::int64_t tokens, std::int64_t channels) {
    return tokens <= channels ? Side::token : Side::channel;
}

}  // namespace

LinearCost& LinearCost::operator+=(const LinearCost& other) {
    forward += other.forward;
    compress += other.compress;
    g_w += other.g_w;
    g_x += other.g_x;
    saved_bytes += other.saved_bytes;
    projector_bytes += other.projector_bytes;
    return *this;
}

CalibrationCost& CalibrationCost::operator+=(const CalibrationCost& other) {
    passes += other.passes;
    gram += other.gram;
    decomposition += other.decomposition;
    return *this;
}

Compression compression_of(const LinearShape& layer, const MethodOptions& options) {
    validate(options);
    const Slots slots = method_slots(options.method);
    Compression result;
    if (!layer.compressible || layer.tokens <= 1) return result;
    result.side_x = options.side.value_or(shorter_axis(layer.tokens, layer.in_channels));
    result.side_g = options.side.value_or(shorter_axis(layer.tokens, layer.out_channels));
    if (slots.x) {
        require(options.rank_x.has_value(), "[cost] method '{}' needs rank_x", options.method);
        result.rank_x = std::min(*options.rank_x, axis(layer, result.side_x, layer.in_channels));
    }
    if (slots.g) {
        require(options.rank_g.has_value(), "[cost] method '{}' needs rank_g", options.method);
        result.rank_g = std::min(*options.rank_g, axis(layer, result.side_g, layer.out_channels));
    }
    return result;
}

LinearCost linear_cost(const LinearShape& layer, const Compression& compression, std::int64_t batch,
                       Convention convention, bool shares_x) {
    const std::int64_t l = layer.tokens, cx = layer.in_channels, cy = layer.out_channels;
    const bool paper = convention == Convention::paper;
    const bool needs_gw = paper || layer.needs_gw, needs_gx = paper || layer.needs_gx;
    shares_x = shares_x && !paper;

    LinearCost cost;
    cost.forward = batch * 2 * l * cx * cy;
    if (needs_gw && !compression.rank_x) {
        cost.g_w = batch * 2 * l * cx * cy;
        cost.saved_bytes = shares_x ? 0 : batch * number_bytes * layer.held_elements;
    } else if (needs_gw) {
        const std::int64_t r = *compression.rank_x;
        const bool token = compression.side_x == Side::token;
        cost.compress = shares_x ? 0 : batch * 2 * r * l * cx;
        cost.g_w = token ? batch * (2 * r * l * cy + 2 * r * cx * cy)
                         : batch * 2 * l * cy * r + 2 * r * cx * cy;
        cost.saved_bytes = shares_x ? 0 : batch * number_bytes * r * (token ? cx : l);
        cost.projector_bytes += shares_x ? 0 : number_bytes * r * (token ? l : cx);
    }
    if (needs_gx && !compression.rank_g) {
        cost.g_x = batch * 2 * l * cx * cy;
    } else if (needs_gx) {
        const std::int64_t r = *compression.rank_g;
        const bool token = compression.side_g == Side::token;
        cost.g_x = token ? batch * (2 * r * l * cy + 2 * r * cy * cx + 2 * r * l * cx)
                         : batch * (2 * l * cy * r + 2 * l * r * cx) + 2 * r * cx * cy;
        cost.projector_bytes += number_bytes * r * (token ? l : cy);
    }
    return cost;
}

CalibrationCost calibration_cost(const LinearShape& layer, const Compression& compression,
                                 std::int64_t batch, std::int64_t batches, Convention convention,
                                 bool shares_x) {
    const std::int64_t samples = batch * batches, l = layer.tokens;
    CalibrationCost cost;
    const LinearCost pass = linear_cost(layer, {}, samples, convention);
    cost.passes = pass.forward + pass.g_w + pass.g_x;
    const auto slot = [&](Side side, std::int64_t channels) {
        const std::int64_t n = axis(layer, side, channels);
        const std::int64_t other = side == Side::token ? channels : l;
        cost.gram += samples * 2 * n * n * other;
        cost.decomposition += 4 * n * n * n / 3;
    };
    const bool paper = convention == Convention::paper;
    if (compression.rank_x && (paper || (layer.needs_gw && !shares_x)))
        slot(compression.side_x, layer.in_channels);
    if (compression.rank_g && (paper || layer.needs_gx))
        slot(compression.side_g, layer.out_channels);
    return cost;
}

double break_even_rank(const LinearShape& layer) {
    const auto l = static_cast<double>(layer.tokens), cx = static_cast<double>(layer.in_channels),
               cy = static_cast<double>(layer.out_channels);
    return l * cx * cy / (cx * cy + l * cx + l * cy);
}

ModelCost model_cost(const std::vector<LinearShape>& layers,
                     const std::vector<Compression>& compressions, std::int64_t batch,
                     Convention convention, std::int64_t calibrate_batches) {
    require(layers.size() == compressions.size(),
            "[cost] {} layers need as many compressions, got {}", layers.size(),
            compressions.size());
    ModelCost model;
    bool calibrated = false;
    std::set<std::string> kept;  // groups whose x a layer before keeps
    for (std::size_t i = 0; i < layers.size(); ++i) {
        const LinearShape& layer = layers[i];
        if (!layer.needs_gw && !layer.needs_gx) continue;
        const bool shares_x = layer.needs_gw && !kept.insert(layer.input_group).second;
        const LinearCost cost = linear_cost(layer, compressions[i], batch, convention, shares_x);
        model.rows.push_back({layer, compressions[i], cost});
        model.total += cost;
        model.calibration += calibration_cost(layer, compressions[i], batch, calibrate_batches,
                                              convention, shares_x);
        calibrated = calibrated || compressions[i].rank_x || compressions[i].rank_g;
    }
    if (!calibrated) model.calibration = {};
    return model;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
