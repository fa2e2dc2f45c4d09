#include "tensor/linalg.h"

#include <lapacke.h>

#include <algorithm>
#include <cmath>

#include "tensor/blas.h"
#include "tensor/meter.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

Eigen eigh(const Tensor& symmetric) {
    require(symmetric.ndim() == 2 && symmetric.size(0) == symmetric.size(1),
            "[eigh] expected a square matrix, got shape {}", to_string(symmetric.shape()));
    require(std::ranges::all_of(symmetric.values(), [](real v) { return std::isfinite(v); }),
            "[eigh] the matrix has entries that are not finite");
    blas();
    const std::int64_t n = symmetric.size(0);
    const auto size = static_cast<std::size_t>(n);
    std::vector<double> a(symmetric.values().begin(), symmetric.values().end());
    Eigen result{std::vector<double>(size), Tensor({n, n})};
    if (n == 0) return result;
    // Column-major, so that the eigenvectors come out as consecutive runs: our rows.
    const lapack_int info =
        LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', static_cast<lapack_int>(n), a.data(),
                       static_cast<lapack_int>(n), result.values.data());
    require(info == 0, "[eigh] LAPACK dsyevd did not converge (info {})", info);
    meter().add(14 * n * n * n / 3);

    std::ranges::reverse(result.values);
    for (std::int64_t i = 0; i < n; ++i)
        std::copy_n(a.begin() + (n - 1 - i) * n, n, result.vectors.data() + i * n);
    return result;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
