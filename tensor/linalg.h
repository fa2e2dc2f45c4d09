#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Eigenvalues in descending order and their eigenvectors as the rows of `vectors`: (count, n). Of
/// a partial decomposition only the leading ones; the sums run over all n all the same.
struct EigenDecomposition {
    std::vector<double> values;
    Tensor vectors;
    double sum = 0;          // Σ values_i
    double sum_squares = 0;  // Σ values_i²
};

/// Decomposes a symmetric matrix (n, n): C = Σ values_i v_i v_iᵀ. Computed in double in both builds
/// (LAPACK dsyevd), since the small eigenvalues of a Gram matrix drown in single precision. Counts
/// ⌊14 n³ / 3⌋ FLOPs: 4/3 for the reduction to tridiagonal form, at most 4/3 for divide and
/// conquer, 2 for the back-transformation. Throws Error for a matrix that is not square or not
/// finite.
EigenDecomposition eigh(const Tensor& symmetric);

/// The `count` leading eigenpairs of a positive semi-definite matrix (n, n), by subspace iteration
/// with Rayleigh-Ritz projections, in double: a few products with `count` + 8 columns instead of
/// the reduction of the whole matrix. It starts from the rows of `start` (m, n) if there are any,
/// such as the eigenvectors of a matrix that this one has grown from, and random directions (a
/// stream of fixed seed) beside them. It ends when a pass adds less than 1e-7 to the sum of the
/// eigenvalues: the best subspace of that size would hold hardly more. A spectrum too flat for
/// that within 12 passes, and a count above n / 4, are left to eigh. The sums are those of all
/// eigenvalues, from the diagonal and the squares of C.
///
/// Counts, for s columns, 2 n² s for each product and 10 n s² + ⌊14 s³ / 3⌋ for each
/// orthonormalisation, projection and rotation. Throws Error as eigh does.
EigenDecomposition eigh_leading(const Tensor& symmetric, std::int64_t count,
                                const Tensor& start = {});

/// The leading singular values of a matrix (m, n), descending, and their vectors as rows: `left`
/// (count, m) and `right` (count, n).
struct SingularDecomposition {
    std::vector<double> values;
    Tensor left, right;
};

/// A = Σ values_i left_iᵀ right_i, the `count` leading terms of it (at most the shorter axis), in
/// double in both builds (LAPACK dgesdd). The largest entry of each vector of the shorter axis is
/// positive, so that one matrix has one answer. Counts the 14 p q² + 8 q³ FLOPs, p ≥ q, that are
/// usually named for a thin decomposition (Golub and Van Loan). Throws Error for a tensor that is
/// no matrix or not finite.
SingularDecomposition svd(const Tensor& matrix, std::int64_t count);

/// The rows of b (s, n) as sums of the rows of a (r, n), nearest by least squares: C (r, s) with
/// bᵀ ≈ aᵀ C, that is C = (a aᵀ)⁻¹ a bᵀ, in double. Counts 2 r (r + s) n + r³ / 3 + 2 r² s FLOPs.
/// Throws Error if the rows of a depend on each other.
Tensor row_coefficients(const Tensor& a, const Tensor& b);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
