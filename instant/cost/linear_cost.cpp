#include "instant/cost/linear_cost.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

LinearCost& LinearCost::operator+=(const LinearCost& other) {
    forward += other.forward;
    compress += other.compress;
    g_w += other.g_w;
    g_x += other.g_x;
    saved_bytes += other.saved_bytes;
    projector_bytes += other.projector_bytes;
    return *this;
}

LinearCost exact_cost(const LinearShape& layer, std::int64_t samples, const Counted& counted) {
    return linear_cost(layer, {}, samples, counted);
}

LinearCost linear_cost(const LinearShape& layer, const Compression& compression,
                       std::int64_t samples, const Counted& counted) {
    if (compression.form) return compression.form(layer, samples, counted);
    const Checked batch = samples;
    const Checked l = layer.tokens, cx = layer.in_channels, cy = layer.out_channels;
    const bool shares_x = counted.shares_x;
    const auto stored = [&](const Checked& numbers) {
        return compression.drawn ? Checked(0) : number_bytes * numbers;
    };

    LinearCost cost;
    cost.forward = batch * 2 * l * cx * cy;
    if (counted.gw && !compression.rank_x) {
        cost.g_w = batch * 2 * l * cx * cy;
        if (!shares_x) cost.saved_bytes = batch * number_bytes * layer.held_elements;
    } else if (counted.gw) {
        const Checked r = *compression.rank_x;
        const bool token = compression.side_x == Side::token;
        if (!shares_x) cost.compress = batch * 2 * r * l * cx;
        cost.g_w = token ? batch * (2 * r * l * cy + 2 * r * cx * cy)
                         : batch * 2 * l * cy * r + 2 * r * cx * cy;
        if (!shares_x) cost.saved_bytes = batch * number_bytes * r * (token ? cx : l);
        if (!shares_x) cost.projector_bytes += stored(r * (token ? l : cx));
    }
    if (counted.gx && !compression.rank_g) {
        cost.g_x = batch * 2 * l * cx * cy;
    } else if (counted.gx) {
        const Checked r = *compression.rank_g;
        const bool token = compression.side_g == Side::token;
        cost.g_x = token ? batch * (2 * r * l * cy + 2 * r * cy * cx + 2 * r * l * cx)
                         : batch * (2 * l * cy * r + 2 * l * r * cx) + 2 * r * cx * cy;
        cost.projector_bytes += stored(r * (token ? l : cy));
    }
    return cost;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
