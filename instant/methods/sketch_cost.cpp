#include "instant/methods/sketch_cost.h"

#include "instant/codec/quantised.h"
#include "instant/methods/options.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// g_w of sketches of so many rows that meet x̂ of rank r.
Checked gw_of_kept(const LinearShape& shape, std::int64_t samples, std::int64_t rows, Side side,
                   const Checked& r) {
    const Checked batch = samples, cx = shape.in_channels, cy = shape.out_channels;
    const Checked meet = 2 * Checked(rows) * shape.tokens * r;  // F Pᵀ, or F x̂
    return side == Side::token ? batch * (meet + 2 * rows * cx * (r + cy))
                               : batch * (meet + 2 * rows * cy * r) + 2 * r * cx * cy;
}

}  // namespace

Checked SketchWork::left() const {
    const LinearCost cost = linear_cost(shape, x_slot, samples, {.gw = gw, .gx = gx});
    return cost.g_w + cost.g_x;
}

Checked SketchWork::factors(std::int64_t rank) const {
    return samples * Checked(sketch_flops(sketch, rank, shape.tokens, shape.out_channels));
}

Checked SketchWork::g_x(std::int64_t rank) const {
    return samples * 2 * Checked(rows(rank)) * shape.in_channels *
           (Checked(shape.tokens) + shape.out_channels);
}

Checked SketchWork::g_w(std::int64_t rank) const {
    if (!x_slot.rank_x) return g_x(rank);  // the same products, the other way round
    return gw_of_kept(shape, samples, rows(rank), x_slot.side_x, *x_slot.rank_x);
}

std::int64_t SketchWork::break_even() const {
    const Checked limit = left();
    const auto cheaper = [&](std::int64_t rank) {
        return factors(rank) + (gw ? g_w(rank) : Checked(0)) + (gx ? g_x(rank) : Checked(0)) <
               limit;
    };
    std::int64_t rank = 0;
    while (rank < axis() && cheaper(rank + 1)) ++rank;
    return rank;
}

SketchOptions sketch_options(const SketchRule::Options& o, std::int64_t tokens,
                             std::int64_t out_channels) {
    return {chosen_side(o.side, tokens, out_channels), o.power, o.complement, o.scale};
}

Compression sketch_compression(const LinearShape& layer, const MethodOptions& options) {
    const SketchRule::Options o = sketch_rule_options(options);
    const SketchOptions how = sketch_options(o, layer.tokens, layer.out_channels);
    Compression x_slot;  // alone: what is left where no sketch is made
    if (sketch_slots(options).x) {
        require(options.rank_x.has_value(), "[cost] method 'sketch' that keeps P x needs rank_x");
        x_slot.side_x = chosen_side(options.side_of_x(), layer.tokens, layer.in_channels);
        const bool token = x_slot.side_x == Side::token;
        x_slot.rank_x = std::min(*options.rank_x, token ? layer.tokens : layer.in_channels);
    }
    Compression compression = x_slot;
    compression.drawn = !x_slot.rank_x;
    compression.form_keeps_x = o.bits == 0 && !x_slot.rank_x;
    compression.form = [o, how, x_slot](const LinearShape& shape, std::int64_t samples,
                                        const Counted& counted) {
        const SketchWork work{shape, samples, how, counted.gw && o.gw, counted.gx && o.gx, x_slot};
        const std::int64_t rank = std::min(o.rank, work.axis());
        LinearCost cost = linear_cost(shape, x_slot, samples, counted);
        if (counted.gw && o.bits > 0 && !counted.shares_x) {
            cost.compress = Checked(samples) * 5 * shape.held_elements;
            cost.saved_bytes =
                QuantisedForm{.bits = o.bits}.bytes({shape.held_elements}, samples, number_bytes);
        }
        const bool made = !o.exact_beyond_break_even || rank <= work.break_even();
        if (made && (work.gw || work.gx)) {
            if (work.gw) cost.g_w = work.g_w(rank);
            if (work.gx) cost.g_x = work.g_x(rank);
            (counted.gw ? cost.g_w : cost.g_x) += work.factors(rank);
        }
        if (counted.gw && o.bits > 0) cost.g_w += Checked(samples) * 2 * shape.held_elements;
        return cost;
    };
    return compression;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
