#pragma once

#include <optional>
#include <string>

#include "nn/linear_operator.h"
#include "tensor/kernels/common_scale.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A running sum of squares as a checkpoint holds it.
struct RunningSum {
    std::string name{};
    Side side = Side::token;
    std::int64_t tokens = 0;  // L of the last values
    CommonScale scale{};
    Tensor sum{};  // undefined: nothing was added yet
};

/// A running autocorrelation: Σ_b x_b x_bᵀ (L, L) on the token side, Σ_b x_bᵀ x_b (C, C) on the
/// channel side. It is summed at a scale at which the squares fit (CommonScale): directions, ranks
/// and shares of energy do not depend on how large or small x is.
class Gram {
  public:
    /// Without a side, the first x decides: the shorter axis, tokens on a tie.
    explicit Gram(std::optional<Side> side, std::int64_t min_tokens = 2)
        : side_(side), min_tokens_(min_tokens) {}

    /// Adds x: (B, L, C). Throws Error, naming the open layer, if the axis has changed its length.
    void add(const Tensor& x);
    /// Multiplies the sum so far.
    void fade(double factor);

    /// False until an x with enough tokens has come: what has no token axis is not compressed.
    bool observed() const { return sum_.defined(); }
    Side side() const { return *side_; }
    /// L of the last x that was added.
    std::int64_t tokens() const { return tokens_; }
    /// (n, n), both triangles, times 2^(-2 exponent()).
    Tensor sum() const;
    /// 0 unless values are extremely large or small.
    int exponent() const { return scale_.exponent(); }

    /// Of an autocorrelation that was observed.
    RunningSum state() const { return {{}, *side_, tokens_, scale_, sum_.clone()}; }
    void restore(const RunningSum& state);

  private:
    void add_samples(std::int64_t batch, std::int64_t channels, const real* x);

    std::optional<Side> side_;
    std::int64_t min_tokens_;
    std::int64_t tokens_ = 0;
    CommonScale scale_;
    Tensor sum_;  // its lower triangle
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
