#pragma once

#include <memory>

#include "instant/calibration/projector.h"
#include "nn/backward_rule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Backward in calibrated subspaces (INSTANT, Sec. 3.3 and App. B.3). Two optional projectors give
/// the four modes: neither is vanilla, P alone compress-x, Q alone compress-g_y, both INSTANT.
///
///                 token side                        channel side
///   kept of x     x̂ = P x        (B, R, Cx)        x̂ = x Pᵀ           (B, L, R)
///   g_w           Σ_b (P g_b)ᵀ x̂_b                  (Σ_b g_bᵀ x̂_b) P
///   g_x           Qᵀ ((Q g) W)                      (g Qᵀ)(Q W)
class LowRankRule final : public BackwardRule {
  public:
    LowRankRule(std::shared_ptr<const Projector> p, std::shared_ptr<const Projector> q)
        : p_(std::move(p)), q_(std::move(q)) {}

    std::string name() const override;
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override;
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override;

    const std::shared_ptr<const Projector>& p() const { return p_; }
    const std::shared_ptr<const Projector>& q() const { return q_; }

  private:
    class ProjectedInput;
    std::shared_ptr<const Projector> p_, q_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
