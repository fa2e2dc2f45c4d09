#pragma once

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

/// The leading directions of an autocorrelation's spectrum, scaled by the offset.
Projector make_projector(const EigenDecomposition& spectrum, Side side,
                         const Truncation& truncation);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
