#pragma once

#include "instant/calibration/projector.h"
#include "instant/methods/subspace_rule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Backward in calibrated subspaces: INSTANT. Either projector may be null.
class LowRankRule final : public SubspaceRule {
  public:
    LowRankRule(std::shared_ptr<const Projector> p, std::shared_ptr<const Projector> q)
        : p_(std::move(p)), q_(std::move(q)) {}

    std::string name() const override {
        return p_ && q_ ? "instant" : p_ ? "compress-x" : q_ ? "compress-gy" : "vanilla";
    }
    const std::shared_ptr<const Projector>& p() const { return p_; }
    const std::shared_ptr<const Projector>& q() const { return q_; }

    std::shared_ptr<const Subspace> p(const LinearCall&) const override { return p_; }
    std::shared_ptr<const Subspace> q(const LinearCall&) const override { return q_; }
    Packer packer(const LinearCall&) const override { return p_.get(); }

  private:
    std::shared_ptr<const Projector> p_, q_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
