#pragma once

#include <memory>

#include "nn/backward_rule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Backward in two subspaces (INSTANT, Sec. 3.3 and App. B.3), wherever they come from. Neither is
/// vanilla, P alone compress-x, Q alone compress-g_y, both INSTANT.
///
///                 token side                        channel side
///   kept of x     x̂ = P x        (B, R, Cx)        x̂ = x Pᵀ           (B, L, R)
///   g_w           Σ_b (P g_b)ᵀ x̂_b                  (Σ_b g_bᵀ x̂_b) P
///   g_x           Qᵀ ((Q g) W)                      (g Qᵀ)(Q W)
class SubspaceRule : public BackwardRule {
  public:
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override;
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override;

    // The subspaces of a call. Null leaves the slot exact.

    /// P as forward asks for it, and what makes x̂: layers of equal packers share one.
    virtual std::shared_ptr<const Subspace> p(const LinearCall& call) const = 0;
    virtual Packer packer(const LinearCall& call) const = 0;
    /// Q as backward asks for it.
    virtual std::shared_ptr<const Subspace> q(const LinearCall& call) const = 0;
    /// Whether they are drawn in each call and held by nobody: backward asks for P again.
    virtual bool drawn() const { return false; }
    /// What multiplies g where this P multiplied x, on the token side.
    virtual const Subspace& of_g(const Subspace& p) const { return p; }
    /// The x̂ that save has kept, and its P; null where x itself was kept.
    struct KeptInput {
        Tensor x_hat;
        std::shared_ptr<const Subspace> p;
    };
    KeptInput kept(const Saved& saved, const LinearCall& call) const;

  protected:
    /// What of x, as the layer has it, is projected.
    virtual Tensor seen_of(const Tensor& x, const LinearCall& /*call*/) const { return x; }
    /// x̂ of x, and the one that save has kept.
    static Tensor x_hat(const Subspace& p, const Tensor& x, const LinearCall& call);
    static const Tensor& kept_x_hat(const Saved& saved);

  private:
    class ProjectedInput;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
