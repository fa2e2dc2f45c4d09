#pragma once

#include <memory>

#include "instant/projector.h"
#include "nn/backward_rule.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

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
    void save(const LinearInput& x, Saved& saved, Needs needs) const override;
    LinearGrads backward(const Tensor& gy, const Tensor& w, const Saved& saved,
                         Needs needs) const override;
    std::optional<Subspaces> subspaces() const override;

    const std::shared_ptr<const Projector>& p() const { return p_; }
    const std::shared_ptr<const Projector>& q() const { return q_; }

  private:
    class ProjectedInput;
    Tensor gw(const Tensor& gy, const Tensor& p_g, const ProjectedInput& kept) const;
    Tensor gx(const Tensor& q_g, const Tensor& w) const;

    std::shared_ptr<const Projector> p_, q_;
};

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
