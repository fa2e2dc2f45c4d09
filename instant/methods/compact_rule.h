#pragma once

#include "autograd/matrix_basis.h"
#include "instant/methods/method.h"
#include "instant/methods/subspace_rule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// CompAct (Shamshoum et al. 2025): x is kept as a random sketch of its channels, and g_w stays a
/// sketch until the update. With P (r, Cx) of independent N(0, 1/r), so that E Pᵀ P = I:
///
///   kept of x    z = x Pᵀ               (B, L, r)
///   g_w          Ĝ = Σ_b g_bᵀ z_b       (Cy, r), which stands for Ĝ P, on average the exact g_w
///   update       W ← W - lr · α · ρ(Ĝ) P
///
/// Forward and g_x are exact. P is drawn from a stream of the run's seed, the input group and the
/// draw, a new one every so many steps, and held by nobody. Q, K and V multiply one x, so they
/// share one P and one z; their paper draws for each layer. Output projections of attention stay
/// exact.
class CompactRule final : public SubspaceRule {
  public:
    struct Options {
        std::int64_t rank = 1;
        std::int64_t redraw_every = 0;  // steps; 0: never
        std::int64_t min_tokens = 1;    // calls of fewer are left exact
        MatrixBasis::Options basis{};
    };
    explicit CompactRule(Options options) : options_(options) {}

    std::string name() const override { return "compact"; }
    bool applies(const LinearCall& call) const override {
        return call.op->tokens() >= options_.min_tokens;
    }
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override;

    std::shared_ptr<const Subspace> p(const LinearCall& call) const override;
    std::shared_ptr<const Subspace> q(const LinearCall&) const override { return nullptr; }
    Packer packer(const LinearCall& call) const override;
    bool drawn() const override { return true; }

  private:
    Options options_;
};

/// The rule of a layer, and its closed form: 2 L Cx r FLOPs more in forward, 2 L Cy r for Ĝ, and L
/// r numbers kept, a sample.
std::shared_ptr<const BackwardRule> compact_rule(const RuleRequest& request);
Compression compact_compression(const LinearShape& layer, const MethodOptions& options);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
