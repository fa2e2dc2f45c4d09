#pragma once

#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Images a whole number of times as large, (B, C, H, W) -> (B, C, f·H, f·W): linear along both
/// axes between the centres of the pixels, beyond the outer ones constant. As PyTorch's Upsample
/// with mode="bilinear" and align_corners=False.
class UpsampleBilinear2d final : public Module {
  public:
    /// Throws Error unless the factor is at least 1.
    explicit UpsampleBilinear2d(std::int64_t factor);
    /// Throws Error unless x is (B, C, H, W) with at least one pixel.
    Var forward(const Var& x) override;
    void visit(Visitor&) override {}
    std::string kind() const override { return "upsample_bilinear2d"; }
    std::int64_t factor() const { return factor_; }

  private:
    std::int64_t factor_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
