#pragma once

#include "instant/lab/snr.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Gradients with a covariance that is known in closed form:
///
///     g = Σ_i √σ_i u_i z_iᵀ Λ_i^½ V,      z_i ~ N(0, I),  tr Λ_i = 1
///
/// so that E[g gᵀ] = Σ_i σ_i u_i u_iᵀ and E[gᵀ u_i u_iᵀ g] = σ_i V Λ_i Vᵀ, and with
/// W = Vᵀ diag(d) R (orthonormal rows in V and R): w_i = σ_i Σ_c Λ_i,c d_c². U and V are random
/// rotations.
///
/// Separable: all modes have the same Λ, so w_i / σ_i is the same for all and eq. 31 is exact.
/// Non-separable: the first `cut` modes meet the small directions of W (d² = 1), all others the
/// large ones (d² = contrast). At R = cut then N_w / N = contrast · S_w / S.
struct SnrSourceOptions {
    bool separable = true;
    std::int64_t tokens = 12;       // L
    std::int64_t out_channels = 8;  // Cy
    std::int64_t in_channels = 8;   // Cx, at least Cy
    double decay = 0.7;             // σ_i = decayⁱ
    double contrast = 16;
    std::int64_t cut = 0;  // 0: the rank that epsilon = 0.95 chooses
    std::uint64_t seed = 0;
};

class SnrSource {
  public:
    /// Throws Error for options out of range.
    explicit SnrSource(SnrSourceOptions options);

    const SnrSourceOptions& options() const { return options_; }
    /// W: (Cy, Cx).
    const Tensor& weight() const { return w_; }
    /// The population's eigenvectors, σ and w, in closed form.
    GradientModes modes(Side side = Side::token) const;
    /// Samples [first, first + count) of the stream that (seed, draw) names: (count, L, Cy). A
    /// sample depends on its number alone.
    Tensor draw(std::int64_t first, std::int64_t count, std::uint64_t draw = 0) const;

  private:
    double share(std::int64_t mode, std::int64_t channel) const;  // Λ_i,c

    SnrSourceOptions options_;
    std::vector<double> sigma_, d_;
    Tensor u_, v_, w_;  // rows of u_ and v_ are the modes
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
