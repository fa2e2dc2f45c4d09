#pragma once

#include "instant/cost/linear_cost.h"
#include "instant/methods/method.h"
#include "instant/methods/subspace_rule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// INSTANT without calibration (its App. K.2, "Random"): backward in subspaces that are drawn. The
/// entries of P: (R, n) and Q: (R, n) are independent and normal with variance 1/R, so that
///
///   E[PᵀP] = E[QᵀQ] = I      and      E[g_w] = E[Σ_b (P g_b)ᵀ (P x_b)] = Σ_b g_bᵀ x_b,
///                                     E[g_x] = E[QᵀQ g W] = g W.
///
/// Unbiased, but never exact: rows are not orthonormal, and PᵀP is not I at full rank either. One
/// draw multiplies the square of a vector's length by 1 + (n + 1) / R on average.
///
/// A draw is a function of the run's seed, of the input group (P) or the layer (Q), and of
/// step / redraw_every: every worker, every part of a batch and a resumed run draw the same, and
/// backward draws P again. Nothing but x̂ is held.
class RandomRule final : public SubspaceRule {
  public:
    /// Sides: auto is the shorter axis of each slot. Ranks: `rank_x`, `rank_g`, or else
    /// chosen_rank of the slot's own axis.
    explicit RandomRule(const MethodOptions& options);

    std::string name() const override { return "random"; }
    bool applies(const LinearCall& call) const override;
    std::shared_ptr<const Subspace> p(const LinearCall& call) const override;
    std::shared_ptr<const Subspace> q(const LinearCall& call) const override;
    Packer packer(const LinearCall& call) const override;
    bool drawn() const override { return true; }

  private:
    MethodOptions options_;
    std::optional<Side> side_x_, side_g_;  // of the options, which are words
    std::int64_t redraw_every_;
};

/// Two projected slots, held by nobody and never calibrated. Drawing counts no FLOPs.
Compression random_compression(const LinearShape& layer, const MethodOptions& options);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
