#pragma once

#include "instant/calibration/projector.h"
#include "instant/cost/linear_cost.h"
#include "instant/methods/method.h"
#include "instant/methods/subspace_rule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// ESPACE (Sakr and Khailany, 2024; INSTANT, App. L.1): x is replaced by its projection in forward
/// too, and backward is that of the approximate y. P has orthonormal rows, from a calibration.
///
///                 token side                        channel side
///   kept of x     x̂ = P x        (B, R, Cx)        x̂ = x Pᵀ           (B, L, R)
///   y             Pᵀ (x̂ Wᵀ)                         x̂ (W Pᵀ)ᵀ
///   g_w           Σ_b (P g_b)ᵀ x̂_b                  (Σ_b g_bᵀ x̂_b) P
///   g_x           Pᵀ ((P g) W)                      (g (W Pᵀ)) P
///
/// On the token side one P g serves both gradients. W Pᵀ is made again in backward, not held.
/// All of the compressed forward, P x with it, counts as `forward`: it stands in for the exact
/// product and adds nothing to it. Evaluation is exact, and so are layers whose W is frozen
/// when rules are installed: for them no P is calibrated.
class EspaceRule final : public SubspaceRule {
  public:
    explicit EspaceRule(std::shared_ptr<const Projector> p) : p_(std::move(p)) {}

    std::string name() const override { return "espace"; }
    Tensor forward(const LinearInput& x, Saved& saved, const LinearCall& call) const override;
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override;

    std::shared_ptr<const Subspace> p(const LinearCall&) const override { return p_; }
    /// None: g passes P.
    std::shared_ptr<const Subspace> q(const LinearCall&) const override { return nullptr; }
    Packer packer(const LinearCall&) const override { return p_.get(); }

  private:
    std::shared_ptr<const Projector> p_;
};

/// `rank` or `ratio` of the axis, without an offset.
Truncation espace_truncation(const MethodOptions& options, std::int64_t dim);
Compression espace_compression(const LinearShape& layer, const MethodOptions& options);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
