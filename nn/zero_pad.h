#pragma once

#include "nn/conv2d.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Zeros around an image (B, C, H, W), as many as let a window of this kernel and stride s stand at
/// ⌈H/s⌉ x ⌈W/s⌉ places; of an odd number, one more after than before. TensorFlow calls it "SAME",
/// and some published weights come from there. A convolution behind it has no padding of its own.
class SamePad2d final : public Module {
  public:
    /// Throws Error unless kernel and stride are positive.
    SamePad2d(Size2d kernel, Size2d stride);
    /// Throws Error unless x is (B, C, H, W).
    Var forward(const Var& x) override;
    void visit(Visitor&) override {}
    std::string kind() const override { return "same_pad2d"; }
    Size2d kernel() const { return kernel_; }
    Size2d stride() const { return stride_; }

  private:
    Size2d kernel_, stride_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
