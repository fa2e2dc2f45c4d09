#include "instant/methods/random_rule.h"

#include <algorithm>
#include <cmath>

#include "instant/methods/options.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

struct DrawnSlot {
    Side side;
    std::int64_t rank, dim;
};

DrawnSlot slot(const MethodOptions& options, const std::optional<Side>& asked,
               const std::optional<std::int64_t>& rank, std::int64_t tokens,
               std::int64_t channels) {
    const Side side = chosen_side(asked, tokens, channels);
    const std::int64_t dim = side == Side::token ? tokens : channels;
    return {side, rank ? std::min(*rank, dim) : chosen_rank(options, dim), dim};
}

DrawnSlot x_slot(const MethodOptions& o, std::int64_t tokens, std::int64_t in_channels) {
    return slot(o, o.side_of_x(), o.rank_x, tokens, in_channels);
}

DrawnSlot g_slot(const MethodOptions& o, std::int64_t tokens, std::int64_t out_channels) {
    return slot(o, o.side_of_g(), o.rank_g, tokens, out_channels);
}

std::shared_ptr<const Subspace> draw(const DrawnSlot& slot, const std::string& purpose,
                                     const LinearCall& call, const MethodOptions& options) {
    const auto redraw_every = options.own.get<std::int64_t>(redraw_option());
    const std::uint64_t index = draw_of(call.step, redraw_every);
    const real deviation = 1 / std::sqrt(static_cast<real>(slot.rank));
    Tensor basis({slot.rank, slot.dim});
    // Each row has a stream of its own, so that threads may share the work.
#pragma omp parallel for schedule(static) if (basis.numel() > 4096)
    for (std::int64_t row = 0; row < slot.rank; ++row) {
        Stream stream(call.seed, purpose, index, static_cast<std::uint32_t>(row));
        for (std::int64_t i = 0; i < slot.dim; ++i)
            basis.data()[row * slot.dim + i] = deviation * stream.normal();
    }
    return std::make_shared<const Subspace>(Subspace{slot.side, std::move(basis)});
}

}  // namespace

bool RandomRule::applies(const LinearCall& call) const {
    return call.op->tokens() >= options_.min_tokens;
}

std::shared_ptr<const Subspace> RandomRule::p(const LinearCall& call) const {
    return draw(x_slot(options_, call.op->tokens(), call.w.size(1)), "random P " + call.input_group,
                call, options_);
}

std::shared_ptr<const Subspace> RandomRule::q(const LinearCall& call) const {
    return draw(g_slot(options_, call.op->tokens(), call.w.size(0)), "random Q " + call.layer, call,
                options_);
}

/// Each layer has a rule of its own: what makes their P equal is what it is drawn from.
Packer RandomRule::packer(const LinearCall& call) const {
    static const char draws = 0;
    const auto [side, rank, dim] = x_slot(options_, call.op->tokens(), call.w.size(1));
    const auto redraw_every = options_.own.get<std::int64_t>(redraw_option());
    return {&draws, fmt::format("{} {} {} {} {} {}", call.input_group, to_string(side), rank, dim,
                                call.seed, draw_of(call.step, redraw_every))};
}

Compression random_compression(const LinearShape& layer, const MethodOptions& options) {
    const DrawnSlot x = x_slot(options, layer.tokens, layer.in_channels);
    const DrawnSlot g = g_slot(options, layer.tokens, layer.out_channels);
    return {.rank_x = x.rank, .rank_g = g.rank, .side_x = x.side, .side_g = g.side, .drawn = true};
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
