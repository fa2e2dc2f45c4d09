#pragma once

#include "instant/calibration/gram.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A running Σ ‖row i of g_b‖² over samples, for each token position i: how much the gradients of
/// one or several layers depend on what is at i. Summed at a scale like a Gram.
class RowEnergies {
  public:
    /// Adds g: (B, L, C). Throws Error, naming the open layer, if L has changed.
    void add(const Tensor& g);
    void fade(double factor);
    /// Nothing more is added: x is projected along its channels, and no rows are weighted.
    void leave_out() { left_out_ = true; }
    bool observed() const { return sum_.defined(); }

    /// D: (L,), the roots of the sums as shares of the largest; 0 for what rounding cannot tell
    /// from it, and 1 everywhere if nothing but zeros came. Counts 2 FLOPs a row.
    Tensor weights() const;

    RunningSum state() const { return {{}, Side::token, sum_.size(0), scale_, sum_.clone()}; }
    void restore(const RunningSum& state);

  private:
    CommonScale scale_;
    Tensor sum_;  // (L,)
    bool left_out_ = false;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
