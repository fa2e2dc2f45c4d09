#pragma once

#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// y = γ ∘ x for each channel (Touvron et al. 2021, "Going deeper with image transformers"), which
/// lets a residual block begin as nearly nothing. Of tokens, x: (B, L, C), or images, x: (B, C, H,
/// W).
class LayerScale final : public Module {
  public:
    explicit LayerScale(std::int64_t channels, double initial = 1e-5);
    /// Throws Error for other shapes.
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override { visitor.parameter("gamma", gamma_); }
    std::string kind() const override { return "layer_scale"; }
    const Parameter& gamma() const { return gamma_; }
    Parameter& gamma() { return gamma_; }

  private:
    Parameter gamma_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
