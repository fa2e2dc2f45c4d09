#pragma once

#include "instant/calibration/projector.h"
#include "instant/methods/subspace_rule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Backward in calibrated subspaces: INSTANT. Either projector may be null.
///
/// With a complement, random directions drawn in each step stand beside those of P and of Q, each
/// slot's own, for what these drop: both gradients are then right on average (complement.h).
class LowRankRule final : public SubspaceRule {
  public:
    struct Options {
        std::int64_t complement = 0;    // random directions beside P, and beside Q
        std::optional<double> scale{};  // c of them; none: the unbiased one
        bool skip_padding = false;      // x̂ of x without its padding (padding.h)
    };

    LowRankRule(std::shared_ptr<const Projector> p, std::shared_ptr<const Projector> q)
        : LowRankRule(std::move(p), std::move(q), {}) {}
    LowRankRule(std::shared_ptr<const Projector> p, std::shared_ptr<const Projector> q,
                Options options)
        : p_(std::move(p)), q_(std::move(q)), options_(options) {}

    std::string name() const override {
        return p_ && q_ ? "instant" : p_ ? "compress-x" : q_ ? "compress-gy" : "vanilla";
    }
    const std::shared_ptr<const Projector>& p() const { return p_; }
    const std::shared_ptr<const Projector>& q() const { return q_; }

    std::shared_ptr<const Subspace> p(const LinearCall& call) const override;
    std::shared_ptr<const Subspace> q(const LinearCall& call) const override;
    Packer packer(const LinearCall&) const override { return p_.get(); }
    bool drawn() const override { return p_ && options_.complement > 0; }
    const Subspace& of_g(const Subspace& p) const override;

  protected:
    Tensor seen_of(const Tensor& x, const LinearCall& call) const override;

  private:
    std::shared_ptr<const Projector> widened(const std::shared_ptr<const Projector>& projector,
                                             const std::string& purpose,
                                             const LinearCall& call) const;

    std::shared_ptr<const Projector> p_, q_;
    Options options_;
};

struct RuleRequest;
/// The rule of the four modes, with the options that a method has of them.
std::shared_ptr<const BackwardRule> low_rank_rule(const RuleRequest& request);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
