#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "instant/calibration/truncation.h"
#include "nn/linear_operator.h"
#include "tensor/linalg.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A calibrated subspace: P (or Q), with rows u_iᵀ / √e (e: the share that the offset
/// makes up for, 1 without one).
struct Projector : Subspace {
    double energy = 1;  // share of Σ σᵢ² that its directions keep, of the calibration's spectrum
    double signal = 1;  // share of Σ σᵢ
    Tensor weights{};   // D: (L,), where rows of x were weighted: the basis is then Ũ D
    /// Ũ D⁻¹, which multiplies g where Ũ D multiplies x; null without weights. A row whose weight
    /// is 0 is left out of both.
    std::shared_ptr<const Subspace> dual{};

    /// Gives it weights and the dual that follows, and marks all as projectors. Weights may be
    /// undefined.
    Projector with(Tensor row_weights) &&;
};

/// R = min(k + oversample, n) with k the smallest integer for which σ₁² + … + σ_k² ≥ ε Σ σᵢ²
/// (INSTANT eq. 2: squares of the eigenvalues of the autocorrelation), at least 1; or min(rank, n)
/// if the rank is fixed. Negative eigenvalues count as 0; an all-zero spectrum has k = 1; ε = 1
/// gives n.
std::int64_t truncated_rank(const std::vector<double>& eigenvalues, const Truncation& truncation);

/// Σ over the first `rank` eigenvalues / Σ over all, of their first or second powers, negative ones
/// counting as 0; 1 if all are 0.
double kept_share(const std::vector<double>& eigenvalues, std::int64_t rank, int exponent);

// The same of a decomposition that may be partial: its sums stand for what it lacks.
std::int64_t truncated_rank(const EigenDecomposition& spectrum, const Truncation& truncation);
double kept_share(const EigenDecomposition& spectrum, std::int64_t rank, int exponent);

/// As much of the spectrum of an autocorrelation (n, n) as the truncation needs. From n = 256 on,
/// where a full decomposition costs more, only the leading pairs, by subspace iteration from
/// `start` (m, n): the basis of the calibration before, or nothing.
EigenDecomposition leading_spectrum(const Tensor& autocorrelation, const Truncation& truncation,
                                    const Tensor& start = {});

/// The leading directions of an autocorrelation's spectrum, scaled by the offset. `weights`: D, if
/// it is that of D C D (weighted_rows).
Projector make_projector(const EigenDecomposition& spectrum, Side side,
                         const Truncation& truncation, const Tensor& weights = {});

/// D C D of an autocorrelation C: (L, L), for which the error of g_w, not that of x, is what the
/// leading directions leave out. Rows whose weight is 0 come last in the spectrum. Counts 2 L².
Tensor weighted_rows(const Tensor& autocorrelation, const Tensor& weights);
/// Each column of a basis (R, L) times f(its weight); columns of weight 0 become 0. Counts R L.
Tensor scale_columns(const Tensor& basis, const Tensor& weights, int power);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
