#pragma once

#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Normalises the last axis to mean 0 and variance 1 (Ba et al. 2016), then scales and shifts it:
/// y = γ ∘ (x - μ) / √(σ² + eps) + β, with the biased variance. γ starts at 1 and β at 0.
class LayerNorm final : public Module {
  public:
    /// Throws Error unless `features` is positive.
    explicit LayerNorm(std::int64_t features, double eps = 1e-5);

    /// x: (..., features). Throws Error for another last dimension.
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "layer_norm"; }
    std::int64_t features() const { return weight_.value.numel(); }
    double eps() const { return eps_; }

  private:
    Parameter weight_;
    Parameter bias_;
    double eps_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
