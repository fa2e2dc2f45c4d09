#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "instant/methods/method.h"
#include "tensor/kernels/common_scale.h"
#include "tensor/linalg.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// The signal-to-noise ratio of a compressed g_x (INSTANT, Appendix C). With Π = Σ_{i≤R} u_i u_iᵀ,
// the projection on the leading eigenvectors of C = E[g gᵀ], and α its scale,
//
//     SNR = E‖α Π g W‖² / E‖(I − α Π) g W‖²                                             (eq. 20)
//         = α² S_w / ((α−1)² S_w + N_w),   S_w = Σ_{i≤R} w_i,  N_w = Σ_{i>R} w_i        exact
//         = α² S  / ((α−1)² S  + N),       S  = Σ_{i≤R} σ_i,  N  = Σ_{i>R} σ_i          (eq. 31)
//
// where w_i = tr(Wᵀ E[gᵀ u_i u_iᵀ g] W) is the energy of mode i behind W. The last line follows
// from the one before only if S_w / S = N_w / N, which Appendix C assumes without saying so.
//
// Ratios do not depend on the scale of g or W; energies are at most as large as a double.
//
// The channel side is the same with Π on the right, C = E[gᵀ g] and w_i = σ_i ‖Wᵀ u_i‖².

/// Where the scale α of the projection comes from.
enum class SnrOffset {
    paper,   // 1/ε, as Appendix C writes it
    none,    // 1
    energy,  // 1/e, e = kept share of the squared eigenvalues: what eq. 3 does
    signal   // 1/e₁, e₁ = kept share of the eigenvalues: the best one for eq. 31
};
std::vector<std::string> snr_offset_names();
std::string to_string(SnrOffset offset);
/// Throws Error that lists the known words.
SnrOffset parse_snr_offset(const std::string& word);

inline constexpr Reals snr_alphas{0, 1e38, true}, snr_confidences{0, 1, true, true};

struct SnrOptions {
    double epsilon = 0.95;
    std::int64_t oversample = 0;
    std::optional<std::int64_t> rank{};  // fixes R instead
    SnrOffset offset = SnrOffset::paper;
    std::optional<double> alpha{};  // a scale of one's own, instead of the offset
    Side side = Side::token;
    double confidence = 0.99;  // of the interval around the measured ratio
};
/// Throws Error for an option out of its range.
void validate(const SnrOptions& options);

/// The eigenvectors of a covariance of gradients, and how much energy each holds.
struct GradientModes {
    Side side = Side::token;
    Tensor basis;                  // (n, n): row i is u_i; n = L on the token side, Cy on the other
    std::vector<double> sigma;     // σ_i, descending, none negative
    std::vector<double> weighted;  // w_i
};

/// What the theory says about one choice of R and α.
struct SnrTheory {
    std::int64_t rank = 0;
    double alpha = 1;
    double S = 0, N = 0;      // kept and dropped energy of g
    double Sw = 0, Nw = 0;    // ... of g W
    double predicted = 0;     // eq. 31
    double exact = 0;         // with S_w and N_w
    double best_alpha = 1;    // 1 + N/S, where eq. 31 has its maximum (S + N)/N
    double best_alpha_w = 1;  // 1 + N_w/S_w, where the exact ratio has its own
};
/// A ratio without noise is infinite; one of nothing to nothing is NaN.
SnrTheory snr_theory(const GradientModes& modes, const SnrOptions& options);
/// α² S / ((α−1)² S + N).
double snr_of(double alpha, double S, double N);

/// A ratio of two means with its confidence interval.
struct SnrMeasured {
    double value = 0, low = 0, high = 0;
    std::int64_t samples = 0;
};

/// C = E[g gᵀ] (or E[gᵀ g]) of the gradients that it is shown, summed in double.
class GradientCovariance {
  public:
    explicit GradientCovariance(Side side) : side_(side) {}

    /// g: (B, L, Cy). Throws Error for another length of the axis or values that are not finite.
    void add(const Tensor& g);
    std::int64_t samples() const { return samples_; }
    Side side() const { return side_; }
    /// The eigenvectors and σ; `weighted` is left empty. Throws Error if nothing was added.
    GradientModes modes() const;

  private:
    Side side_;
    std::int64_t n_ = 0, samples_ = 0;
    CommonScale scale_;
    std::vector<double> sum_;  // (n, n), at that scale
};

/// Eq. 20 by Monte Carlo, in a fixed basis, for every R and every α at once. Of each sample it
/// takes how much of ‖g W‖² the first R modes keep and how much they drop, and how the two overlap
/// (on the token side they do not; on the channel side only their mean does not):
///
///     ‖α Π g W‖² = α² kept,     ‖(I − α Π) g W‖² = (1−α)² kept + 2 (1−α) cross + dropped
///
/// Nothing but sums is held, so memory does not grow with the samples.
class SnrMeasurement {
  public:
    /// basis: (n, n), rows orthonormal. w: (Cy, Cx).
    SnrMeasurement(Side side, Tensor basis, Tensor w);

    /// g: (B, L, Cy), independent samples. Throws Error for shapes that do not fit or values that
    /// are not finite.
    void add(const Tensor& g);
    std::int64_t samples() const { return samples_; }
    /// w_i of these samples: what `GradientModes::weighted` holds, without a population.
    std::vector<double> weighted() const;
    /// The ratio of means at R and α with an interval that holds the truth with probability
    /// `confidence`.
    SnrMeasured at(std::int64_t rank, double alpha, double confidence = 0.99) const;

  private:
    void add_tokens(const Tensor& g);
    void add_channels(const Tensor& g);
    void take(std::int64_t rank, double kept, double cross, double dropped);

    struct Moments {
        std::array<double, 3> sum{};         // of kept, cross, dropped
        std::array<double, 9> sum_square{};  // of their products
    };
    Side side_;
    CommonScale scale_, w_scale_;
    Tensor basis_, w_;              // w_ at its scale
    std::vector<double> overlap_;   // channel side: u_iᵀ W Wᵀ u_j
    std::vector<Moments> moments_;  // by R = 0 … n, at both scales
    std::int64_t samples_ = 0;
};

/// Everything about one layer.
struct Snr {
    SnrTheory theory;
    SnrMeasured measured;
    GradientModes modes;
};

/// The three ratios of one set of samples: g (N, L, Cy), w (Cy, Cx). The same samples make C, the
/// covariance of `exact` and the measurement, so `exact` and `measured` agree to rounding: the
/// difference to `predicted` is what Appendix C assumes, and the interval says how far another set
/// of samples may lie. Throws Error for shapes that do not fit or values that are not finite.
Snr snr(const Tensor& g, const Tensor& w, const SnrOptions& options = {});

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
