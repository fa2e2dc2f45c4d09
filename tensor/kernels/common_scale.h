#pragma once

#include <optional>

#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The exponent e of the largest magnitude of x, 2^e <= |x_i| < 2^(e+1). Nothing if all values are
/// 0 or one is not finite. It compares bits as integers: no FLOPs.
std::optional<int> largest_exponent(const Tensor& x);

/// x · 2^exponent, exact unless a value leaves the range of `real`.
Tensor times_power_of_two(const Tensor& x, int exponent);

/// One power of two for a running sum of squares (autocorrelations, errors) over several tensors:
/// as large as the largest of them, so that neither squares nor squares of squares over- or
/// underflow where that matters. Ordinary values stay as they are, to the bit: the power is then
/// 2^0.
class CommonScale {
  public:
    CommonScale() = default;
    /// As another one was, whose state() this is.
    explicit CommonScale(std::optional<int> state) : exponent_(state) {}
    /// Takes x into account. Gives s: sums of squares so far have to be multiplied by 2^s.
    int include(const Tensor& x) { return include(largest_exponent(x)); }
    /// The same for what another scale has seen.
    int include(const CommonScale& other) { return include(other.exponent_); }
    /// x as it enters the sum: x · 2^-exponent().
    Tensor apply(const Tensor& x) const {
        return exponent() == 0 ? x : times_power_of_two(x, -exponent());
    }
    int exponent() const { return exponent_.value_or(0); }
    std::optional<int> state() const { return exponent_; }

  private:
    int include(std::optional<int> largest);

    std::optional<int> exponent_;  // none before the first value that is not 0
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
