#include "instant/cost/linear_cost.h"

#include <algorithm>

#include "instant/methods/complement.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

namespace {

/// A projected slot, and the random directions that are drawn beside it.
struct Drawn {
    Drawn(const Compression& compression, std::int64_t rank, std::int64_t dim)
        : rank(rank),
          dim(dim),
          count(ComplementShape(compression.complement, rank, dim).count),
          rows(rank + count) {}
    /// Of one draw: with weights the basis is freed of them, and the result has them and a dual.
    Checked flops(bool weighted) const {
        if (count == 0) return 0;
        return complement_flops(rank, count, dim) +
               (weighted ? (rank + 2 * rows) * dim : Checked(0));
    }
    /// What is kept between steps: the basis, and of weighted rows the dual and the weights.
    Checked numbers(bool weighted) const { return (weighted ? 2 * rank + 1 : Checked(rank)) * dim; }

    Checked rank, dim, count, rows;
};

/// Two slots that are projected or exact.
LinearCost projected_cost(const LinearShape& layer, const Compression& compression,
                          std::int64_t samples, const Counted& counted) {
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
        const bool token = compression.side_x == Side::token;
        const Drawn drawn(compression, *compression.rank_x, token ? l : cx);
        const Checked r = drawn.rows;
        // In forward and again in backward: nothing holds what is drawn.
        const Checked draw = drawn.flops(compression.weighted_x);
        if (!shares_x) cost.compress = draw + batch * 2 * r * l * cx;
        cost.g_w = draw + (token ? batch * (2 * r * l * cy + 2 * r * cx * cy)
                                 : batch * 2 * l * cy * r + 2 * r * cx * cy);
        if (!shares_x) cost.saved_bytes = batch * number_bytes * r * (token ? cx : l);
        if (!shares_x) cost.projector_bytes += stored(drawn.numbers(compression.weighted_x));
    }
    if (counted.gx && !compression.rank_g) {
        cost.g_x = batch * 2 * l * cx * cy;
    } else if (counted.gx) {
        const bool token = compression.side_g == Side::token;
        const Drawn drawn(compression, *compression.rank_g, token ? l : cy);
        const Checked r = drawn.rows;
        cost.g_x = drawn.flops(false) +
                   (token ? batch * (2 * r * l * cy + 2 * r * cy * cx + 2 * r * l * cx)
                          : batch * (2 * l * cy * r + 2 * l * r * cx) + 2 * r * cx * cy);
        cost.projector_bytes += stored(drawn.numbers(false));
    }
    return cost;
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

LinearCost exact_cost(const LinearShape& layer, std::int64_t samples, const Counted& counted) {
    return linear_cost(layer, {}, samples, counted);
}

Shape held_shape(const LinearShape& layer) {
    if (!layer.window) return {layer.tokens, layer.in_channels};
    const std::int64_t rows = layer.window->rows.length, columns = layer.window->columns.length;
    return {layer.held_elements / std::max<std::int64_t>(1, rows * columns), rows, columns};
}

LinearCost linear_cost(const LinearShape& layer, const Compression& compression,
                       std::int64_t samples, const Counted& counted) {
    LinearCost cost = compression.form ? compression.form(layer, samples, counted)
                                       : projected_cost(layer, compression, samples, counted);
    if (!compression.codec || !compression.keeps_x() || !counted.gw) return cost;
    const auto packed = compression.codec->cost(layer.name + " x", held_shape(layer), samples);
    require(packed.has_value(), "[cost] the codec has no closed form. Hint: train, its run counts");
    if (!counted.shares_x) {
        cost.compress += packed->pack;
        cost.saved_bytes = packed->bytes;
    }
    cost.g_w += packed->unpack;
    return cost;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
