#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "instant/methods/low_rank_rule.h"
#include "instant/methods/method.h"
#include "instant/methods/rank_controller.h"
#include "instant/methods/sketch.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What sketches of a layer's gradients did in some calls.
struct SketchRecord {
    std::int64_t calls = 0, exact = 0;  // exact: calls that were left exact
    std::int64_t ranks = 0;             // summed over the others
    double kept = 0, least_kept = 1;  // shares of Σ ‖g_b‖²: summed over the others, and the least

    void add(std::int64_t rank, double share);
    SketchRecord& operator+=(const SketchRecord& other);
};

/// Backward by a fresh sketch of each sample's own gradient, one for both products (sketch.h):
///
///   g_b ≈ F_bᵀ A_b
///   g_x   F_bᵀ (A_b W)
///   g_w   Σ_b A_bᵀ (F_b x_b)
///
/// Nothing is calibrated and nothing kept from step to step. x is kept as it is, or quantised
/// (quantised.h): how much memory is saved and how many operations are two choices. Ω is drawn from
/// (seed, step, layer).
///
/// Or x̂ = P x is kept, in a calibrated subspace as INSTANT's. The sketch then meets it there: on
/// the token side g_w = Σ_b A_bᵀ ((F_b Pᵀ) x̂_b), on the channel side (Σ_b A_bᵀ (F_b x̂_b)) P.
class SketchRule final : public BackwardRule {
  public:
    struct Options {
        std::int64_t rank = 8;  // the first one, with a tolerance
        /// The share of Σ ‖g_b‖² that may be lost: the rank follows, and a call that loses more
        /// than twice as much is made exact.
        std::optional<double> tolerance{};
        std::int64_t power = 1;
        std::int64_t complement = 0;    // random directions beside the principal ones
        std::optional<double> scale{};  // of them; none: the unbiased one
        int bits = 0;                   // of the kept x; 0: as it is
        bool gw = true, gx = true;      // which products it makes; others are exact
        /// What keeps x̂ in the place of x, if anything does.
        std::shared_ptr<const LowRankRule> x_slot{};
        std::optional<Side> side{};
        /// Whether ranks beyond break-even leave the layer exact; with a tolerance they always do.
        bool exact_beyond_break_even = false;
        std::int64_t min_tokens = 1;
    };
    explicit SketchRule(Options options);

    std::string name() const override { return "sketch"; }
    bool applies(const LinearCall& call) const override {
        return call.op->tokens() >= options_.min_tokens;
    }
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override;
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override;

    /// The rank of a call, Ω, and the sketch that it then makes of g: (B, L, Cy).
    std::int64_t rank(const LinearCall& call) const;
    Tensor omega(const LinearCall& call, std::int64_t rank) const;
    Sketch sketch_of(const Tensor& g, const LinearCall& call, std::int64_t rank) const;
    /// With a tolerance: lets the rank follow this g until it stays.
    void settle(const Tensor& g, const LinearCall& call) const;
    const Options& options() const { return options_; }

    /// What it did since it was last asked.
    SketchRecord take_record() const;
    /// With a tolerance: the rank of the next step, for a checkpoint between two.
    std::optional<std::int64_t> next_rank() const;
    void set_rank(std::int64_t rank) const;

  private:
    /// What keeps x, and makes g_w from it where no sketch is made.
    const BackwardRule& x_slot() const;
    /// The sketch to use, or none where the call is left exact.
    std::optional<Sketch> worthwhile_sketch(const Tensor& g, const LinearCall& call) const;

    Options options_;
    std::unique_ptr<RankController> controller_;  // with a tolerance
    mutable std::mutex mutex_;                    // calls of one layer may run side by side
    mutable SketchRecord record_;
};

// The options that it brings.
const Option& tolerance_option();
const Option& power_option();
const Option& keep_x_option();
const Option& products_option();

SketchRule::Options sketch_rule_options(const MethodOptions& options);

/// The rule of a layer.
std::shared_ptr<const BackwardRule> sketch_rule(const RuleRequest& request);
/// With x̂ kept the x slot is calibrated, with the ranks of INSTANT.
Slots sketch_slots(const MethodOptions& options);
Truncation sketch_truncation(const MethodOptions& options, std::int64_t dim);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
