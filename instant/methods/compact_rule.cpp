#include "instant/methods/compact_rule.h"

#include <cmath>

#include "instant/methods/options.h"
#include "tensor/meter.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// Where P comes from: all that its basis holds.
struct Draw {
    std::uint64_t seed;
    std::string group;
    std::int64_t rank, channels;

    Tensor p(std::int64_t number) const {
        Stream stream(seed, "compact P " + group, static_cast<std::uint64_t>(number));
        const double deviation = 1 / std::sqrt(static_cast<double>(rank));
        return normal({rank, channels}, 0, static_cast<real>(deviation), stream);
    }
    friend bool operator==(const Draw&, const Draw&) = default;
};

class CompactBasis final : public MatrixBasis {
  public:
    CompactBasis(Draw draw, std::int64_t number, Options options)
        : MatrixBasis(Multiply::right, draw.rank, draw.channels, number, options),
          draw_(std::move(draw)) {}

    bool same_as(const Basis& other) const override {
        const auto* drawn = dynamic_cast<const CompactBasis*>(&other);
        return drawn && draw_ == drawn->draw_ && period() == drawn->period();
    }

  private:
    Tensor rows(std::int64_t period) const override { return draw_.p(period); }

    Draw draw_;
};

Draw draw_for(const LinearCall& call, std::int64_t rank) {
    return {call.seed, call.input_group, rank, call.w.size(1)};
}

std::int64_t number_of(const LinearCall& call, std::int64_t redraw_every) {
    return static_cast<std::int64_t>(draw_of(call.step, redraw_every));
}

}  // namespace

std::shared_ptr<const Subspace> CompactRule::p(const LinearCall& call) const {
    const Tensor p = draw_for(call, options_.rank).p(number_of(call, options_.redraw_every));
    return std::make_shared<const Subspace>(Subspace{Side::channel, p});
}

Packer CompactRule::packer(const LinearCall& call) const {
    static constexpr char owner = 0;  // of all rules: those of one group draw the same
    return {&owner, fmt::format("{} {}", call.input_group, options_.rank)};
}

LinearGrads CompactRule::backward(const LinearGradient& gy, const Saved& saved,
                                  const LinearCall& call) const {
    LinearGrads grads;
    if (call.needs.gw) {
        const PhaseScope phase("g_w");
        grads.gw = {call.op->pair(gy.value(), kept_x_hat(saved)),  // (Cy,B·L)·(B·L,r)
                    std::make_shared<const CompactBasis>(draw_for(call, options_.rank),
                                                         number_of(call, options_.redraw_every),
                                                         options_.basis)};
    }
    if (call.needs.gx) {
        const PhaseScope phase("g_x");
        grads.gx = call.op->gx(gy.value(), call.w);
    }
    return grads;
}

std::shared_ptr<const BackwardRule> compact_rule(const RuleRequest& request) {
    const auto& [layer, options, p, q] = request;
    if (layer.attention_output()) return nullptr;
    const Tensor& w = layer.weight().value;
    const std::int64_t channels = w.size(0) > 0 ? w.numel() / w.size(0) : 1;  // C·kh·kw
    return std::make_shared<const CompactRule>(
        CompactRule::Options{.rank = chosen_rank(options, channels),
                             .redraw_every = options.own.get<std::int64_t>(redraw_option()),
                             .min_tokens = options.min_tokens,
                             .basis = basis_options(options)});
}

Compression compact_compression(const LinearShape& shape, const MethodOptions& options) {
    if (shape.attention_output) return {};
    const std::int64_t rank = chosen_rank(options, shape.in_channels);
    Compression compression;
    compression.drawn = true;
    compression.form = [rank](const LinearShape& layer, std::int64_t samples,
                              const Counted& counted) {
        LinearCost cost = exact_cost(layer, samples, counted);
        if (!counted.gw) return cost;
        const Checked tokens = Checked(samples) * layer.tokens;
        cost.g_w = 2 * tokens * layer.out_channels * rank;
        cost.compress = counted.shares_x ? Checked(0) : 2 * tokens * layer.in_channels * rank;
        cost.saved_bytes = counted.shares_x ? Checked(0) : number_bytes * tokens * rank;
        return cost;
    };
    return compression;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
