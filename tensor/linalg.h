#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

/// Eigenvalues in descending order and their eigenvectors as the rows of `vectors`: (n, n).
struct Eigen {
    std::vector<double> values;
    Tensor vectors;
};

/// Decomposes a symmetric matrix (n, n): C = Σ values_i v_i v_iᵀ. Computed in double in both builds
/// (LAPACK dsyevd), since the small eigenvalues of a Gram matrix drown in single precision. Counts
/// ⌊14 n³ / 3⌋ FLOPs: 4/3 for the reduction to tridiagonal form, at most 4/3 for divide and
/// conquer, 2 for the back-transformation. Throws Error for a matrix that is not square or not
/// finite.
Eigen eigh(const Tensor& symmetric);

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
