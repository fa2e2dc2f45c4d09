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

std::shared_ptr<const Subspace> draw(const DrawnSlot& slot, const std::string& purpose,
                                     const LinearCall& call, std::int64_t redraw_every) {
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

RandomRule::RandomRule(const MethodOptions& options)
    : options_(options),
      side_x_(options.side_of_x()),
      side_g_(options.side_of_g()),
      redraw_every_(options.own.get<std::int64_t>(redraw_option())) {}

bool RandomRule::applies(const LinearCall& call) const {
    return call.op->tokens() >= options_.min_tokens;
}

std::shared_ptr<const Subspace> RandomRule::p(const LinearCall& call) const {
    return draw(slot(options_, side_x_, options_.rank_x, call.op->tokens(), call.w.size(1)),
                "random P " + call.input_group, call, redraw_every_);
}

std::shared_ptr<const Subspace> RandomRule::q(const LinearCall& call) const {
    return draw(slot(options_, side_g_, options_.rank_g, call.op->tokens(), call.w.size(0)),
                "random Q " + call.layer, call, redraw_every_);
}

/// Each layer has a rule of its own: what makes their P equal is what it is drawn from. Seed and
/// step are those of the tape.
Packer RandomRule::packer(const LinearCall& call) const {
    static const char draws = 0;
    const auto [side, rank, dim] =
        slot(options_, side_x_, options_.rank_x, call.op->tokens(), call.w.size(1));
    return {&draws, fmt::format("{} {} {} {} {}", call.input_group, to_string(side), rank, dim,
                                redraw_every_)};
}

Compression random_compression(const LinearShape& layer, const MethodOptions& options) {
    const DrawnSlot x =
        slot(options, options.side_of_x(), options.rank_x, layer.tokens, layer.in_channels);
    const DrawnSlot g =
        slot(options, options.side_of_g(), options.rank_g, layer.tokens, layer.out_channels);
    return {.rank_x = x.rank, .rank_g = g.rank, .side_x = x.side, .side_g = g.side, .drawn = true};
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
