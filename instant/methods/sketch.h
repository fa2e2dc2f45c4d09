#pragma once

#include <optional>
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
///
/// What is missed is a bias. `complement` random directions beside the basis, orthonormal and
/// orthogonal to it, stand for the tail: each scaled by √c in both factors, so that the product has
/// c times what they hold of g. With c = (n − R) / complement, n the length of the axis, the
/// product is unbiased, and its error least among those that are (PRAC, arXiv 2602.23111). Of a
/// tail of energy T a smaller c leaves bias² (1 − c r/m)² T and variance c² (r/m) (1 − r/m) T, with
/// r = complement and m = n − R.
struct Sketch {
    Tensor left, right;
    Side side = Side::token;
    std::int64_t principal = 0;  // rows that are not of the complement: they come first
    double total = 0;            // Σ ‖g_b‖²
    /// How much of the total each principal direction holds: the squares of its row of the factor
    /// that is not orthonormal, summed over the samples.
    std::vector<double> energies{};
    /// 1ᵀ g of each sample, (B, Cy), which the token side makes on the way without counting it.
    Tensor sums{};

    /// The share of the total that the principal directions hold; 1 of zeros.
    double kept() const;
};

struct SketchOptions {
    Side side = Side::token;
    std::int64_t power = 1;         // steps
    std::int64_t complement = 0;    // random directions beside the principal ones
    std::optional<double> scale{};  // c; none: the unbiased one
};

/// `g`: (B, L, Cy); `omega`: R rows of Cy numbers on the token side, of L on the other, R no more
/// than the length of the side's axis. `tail`: rows of that length, as many as the complement may
/// have at most; no more are used than fit beside R. FLOPs count under the open phase; see
/// sketch_flops.
Sketch sketch(const Tensor& g, const SketchOptions& options, const Tensor& omega,
              const Tensor& tail = {});
/// What that counts for one sample: 4 (1 + power) R L Cy and an orthonormalisation a pass; for r
/// rows of the complement one more, of R + r rows, and 2 r L Cy + r (L + Cy); for the energies and
/// the total 2 FLOPs an element.
std::int64_t sketch_flops(const SketchOptions& options, std::int64_t rank, std::int64_t tokens,
                          std::int64_t channels);

/// What making the rows of one matrix (rank, length) orthonormal counts (orthonormal.h).
std::int64_t orthonormalise_flops(std::int64_t rank, std::int64_t length);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
