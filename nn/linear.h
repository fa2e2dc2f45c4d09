#pragma once

#include "nn/linear_map.h"
#include "tensor/random.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

/// y = x Wᵀ + b with x: (..., Cx), W: (Cy, Cx), b: (Cy,). The first axis of x is the batch, all
/// between it and the last are tokens. Initialised as in PyTorch: U(-1/√Cx, 1/√Cx).
class Linear final : public LinearMap {
  public:
    Linear(std::int64_t in_features, std::int64_t out_features, Stream& stream, bool bias = true);

    /// Throws Error unless the last dimension of x is in_features.
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "linear"; }
    using LinearMap::weight;
    Parameter& weight() override { return weight_; }
    const Parameter* bias() const { return bias_.value.defined() ? &bias_ : nullptr; }
    Parameter* bias() { return bias_.value.defined() ? &bias_ : nullptr; }

  private:
    Parameter weight_;
    Parameter bias_;  // undefined if the layer has none
};

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
