#pragma once

#include <vector>

#include "nn/linear_operator.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The gradient of each sample as a product of two thin factors, g_b ≈ F_bᵀ A_b, found by the
/// randomised range finder of Halko, Martinsson and Tropp (SIAM Review 2011, algorithms 4.1 and
/// 4.4). Their rows:
///
///                 token side                           channel side
///   start         orth((g_b Ωᵀ)ᵀ), Ω (R, Cy)           orth(Ω g_b), Ω (R, L)
///   power step    orth((g_b A_bᵀ)ᵀ)                    orth(F_b g_b)
///   left          F = that             (B, R, L)       F = (g_b A_bᵀ)ᵀ
///   right         A = F_b g_b          (B, R, Cy)      A = that
///
/// The side is that of the orthonormal factor. What the product misses of a sample is orthogonal to
/// it, so ‖g_b − F_bᵀ A_b‖² = ‖g_b‖² − ‖the other factor‖²: the error costs nothing to know.
struct Sketch {
    Tensor left, right;
    Side side = Side::token;

    /// ‖row j of the factor that is not orthonormal‖², over the samples: how much of Σ ‖g_b‖² each
    /// direction holds. Counts 2 FLOPs an element.
    std::vector<double> energies() const;
};

/// `g`: (B, L, Cy); `omega`: (R, Cy) on the token side, (R, L) on the other, R no more than the
/// axis of the side. FLOPs count under the open phase: 4 (1 + power) R L Cy a sample, and
/// orthonormalise_flops for each orthonormalisation.
Sketch sketch(const Tensor& g, Side side, const Tensor& omega, std::int64_t power);

/// Makes the rows of each matrix of (B, R, N), R ≤ N, orthonormal, in place: the span of the rows
/// if they are independent, and completed by other directions where they are not. By Householder
/// reflections, in this precision.
void orthonormalise_rows(Tensor& rows);
/// What that counts for one matrix.
std::int64_t orthonormalise_flops(std::int64_t rank, std::int64_t length);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
