#include "tensor/linalg.h"

#include <cblas.h>
#include <lapacke.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "tensor/blas.h"
#include "tensor/meter.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

using Doubles = std::vector<double>;

constexpr std::int64_t extra_directions = 8;
constexpr int most_passes = 12;
constexpr double settled = 1e-7;

void check_finite(const char* what, const Tensor& matrix) {
    require(std::ranges::all_of(matrix.values(), [](real v) { return std::isfinite(v); }),
            "[{}] the matrix has entries that are not finite", what);
}

void check(const Tensor& symmetric) {
    require(symmetric.ndim() == 2 && symmetric.size(0) == symmetric.size(1),
            "[eigh] expected a square matrix, got shape {}", shown(symmetric.shape()));
    check_finite("eigh", symmetric);
}

/// BLAS and LAPACK on the calling thread alone while it lives: in matrices of a few hundred rows
/// their many small steps spend more time on waking other threads than those save.
class OneThread {
  public:
    explicit OneThread(std::int64_t n) : before_(threads()) {
        blas();  // chooses kernels before the first call
        constexpr std::int64_t large = 1024;
        if (n < large) omp_set_num_threads(1);
    }
    ~OneThread() { omp_set_num_threads(before_); }
    OneThread(const OneThread&) = delete;
    OneThread& operator=(const OneThread&) = delete;

  private:
    int before_;
};

std::size_t length(std::int64_t n) { return static_cast<std::size_t>(n); }
blasint narrow(std::int64_t n) { return blas_length<blasint>(n); }

/// Eigenvalues of a symmetric n x n matrix, ascending; its rows become the eigenvectors.
Doubles decompose(Doubles& a, std::int64_t n) {
    Doubles values(length(n));
    const BlasCall call;
    // Column-major, so that the eigenvectors come out as consecutive runs: our rows.
    const lapack_int info =
        LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', narrow(n), a.data(), narrow(n), values.data());
    require(info == 0, "[eigh] LAPACK dsyevd did not converge (info {})", info);
    meter().add(14 * n * n * n / 3);
    return values;
}

/// The rows of `a` (s, n) become orthonormal: V of a QR decomposition of aᵀ.
void orthonormalise(Doubles& a, std::int64_t s, std::int64_t n) {
    Doubles tau(length(s));
    const BlasCall call;
    lapack_int info =
        LAPACKE_dgeqrf(LAPACK_COL_MAJOR, narrow(n), narrow(s), a.data(), narrow(n), tau.data());
    if (info == 0)
        info = LAPACKE_dorgqr(LAPACK_COL_MAJOR, narrow(n), narrow(s), narrow(s), a.data(),
                              narrow(n), tau.data());
    require(info == 0, "[eigh] LAPACK's QR decomposition failed (info {})", info);
}

/// a (rows, inner) b, where b is (inner, columns), or (columns, inner) and transposed.
Doubles product(const Doubles& a, const Doubles& b, std::int64_t rows, std::int64_t columns,
                std::int64_t inner, CBLAS_TRANSPOSE op_b) {
    Doubles c(length(rows * columns));
    const BlasCall call;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, op_b, narrow(rows), narrow(columns), narrow(inner), 1,
                a.data(), narrow(inner), b.data(), narrow(op_b == CblasTrans ? inner : columns), 0,
                c.data(), narrow(columns));
    return c;
}

/// V of an iteration's beginning: `start`, and random directions up to s rows.
Doubles first_directions(const Tensor& start, std::int64_t s, std::int64_t n) {
    Doubles v(length(s * n));
    Stream stream(0, "eigh_leading");
    for (double& value : v) value = stream.normal();
    if (start.defined()) {
        require(start.ndim() == 2 && start.size(1) == n,
                "[eigh] expected a start of shape (m, {}), got {}", n, shown(start.shape()));
        std::copy_n(start.data(), std::min(start.size(0), s) * n, v.begin());
    }
    return v;
}

void keep_leading(EigenDecomposition& eigen, std::int64_t count) {
    if (count >= std::ssize(eigen.values)) return;
    eigen.values.resize(length(count));
    eigen.vectors = eigen.vectors.rows(0, count).clone();
}

}  // namespace

EigenDecomposition eigh(const Tensor& symmetric) {
    check(symmetric);
    const std::int64_t n = symmetric.size(0);
    const OneThread alone(n);
    Doubles a(symmetric.values().begin(), symmetric.values().end());
    EigenDecomposition result{{}, Tensor({n, n})};
    if (n == 0) return result;
    result.values = decompose(a, n);
    std::ranges::reverse(result.values);
    for (std::int64_t i = 0; i < n; ++i)
        std::copy_n(a.begin() + (n - 1 - i) * n, n, result.vectors.data() + i * n);
    for (const double value : result.values) {
        result.sum += value;
        result.sum_squares += value * value;
    }
    return result;
}

EigenDecomposition eigh_leading(const Tensor& symmetric, std::int64_t count, const Tensor& start) {
    check(symmetric);
    require(count >= 1, "[eigh] expected a count of at least 1, got {}", count);
    const std::int64_t n = symmetric.size(0);
    const auto all = [&] {
        EigenDecomposition result = eigh(symmetric);
        keep_leading(result, count);
        return result;
    };
    if (count > n / 4) return all();

    const OneThread alone(n);
    const Doubles c(symmetric.values().begin(), symmetric.values().end());
    const std::int64_t s = count + extra_directions;
    Doubles v = first_directions(start, s, n);
    double held = 0, held_before = -1;  // Σ of the leading Ritz values
    for (int pass = 0; pass < most_passes; ++pass) {
        orthonormalise(v, s, n);
        Doubles cv = product(v, c, s, n, n, CblasNoTrans);  // (C Vᵀ)ᵀ      (s,n)·(n,n)
        Doubles t = product(v, cv, s, s, n, CblasTrans);    // Vᵀ C V       (s,n)·(n,s)
        meter().add(2 * n * n * s + 10 * n * s * s);
        Doubles values = decompose(t, s);
        v = product(t, v, s, n, s, CblasNoTrans);  // Ritz vectors (s,s)·(s,n)
        cv = product(t, cv, s, n, s, CblasNoTrans);
        // Ascending; the leading ones are to come first.
        std::ranges::reverse(values);
        for (std::int64_t i = 0; i < s / 2; ++i) {
            const auto swap_rows = [&](Doubles& m) {
                std::swap_ranges(m.begin() + i * n, m.begin() + (i + 1) * n,
                                 m.begin() + (s - 1 - i) * n);
            };
            swap_rows(v);
            swap_rows(cv);
        }
        // A subspace that C maps into itself may still not be the leading one; but then the random
        // directions beside it grow, and so does the sum.
        held_before =
            std::exchange(held, std::accumulate(values.begin(), values.begin() + count, 0.0));
        if (std::abs(held - held_before) <= settled * held) {
            EigenDecomposition result{{values.begin(), values.begin() + count}, Tensor({count, n})};
            std::transform(v.begin(), v.begin() + count * n, result.vectors.data(),
                           [](double value) { return static_cast<real>(value); });
            for (std::int64_t i = 0; i < n; ++i) result.sum += c[length(i * n + i)];
            result.sum_squares = std::inner_product(c.begin(), c.end(), c.begin(), 0.0);
            return result;
        }
        v = std::move(cv);
    }
    return all();
}

SingularDecomposition svd(const Tensor& matrix, std::int64_t count) {
    require(matrix.ndim() == 2, "[svd] expected a matrix, got shape {}", shown(matrix.shape()));
    check_finite("svd", matrix);
    const std::int64_t m = matrix.size(0), n = matrix.size(1), q = std::min(m, n);
    require(count >= 1 && count <= q, "[svd] expected a count from 1 to {}, got {}", q, count);
    const OneThread alone(std::max(m, n));
    // Row-major A is column-major Aᵀ = V Σ Uᵀ: its left vectors are our right ones.
    Doubles a(matrix.values().begin(), matrix.values().end());
    Doubles values(length(q)), v(length(n * q)), ut(length(q * m));
    {
        const BlasCall call;
        const lapack_int info =
            LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'S', narrow(n), narrow(m), a.data(), narrow(n),
                           values.data(), v.data(), narrow(n), ut.data(), narrow(q));
        require(info == 0, "[svd] LAPACK dgesdd did not converge (info {})", info);
    }
    meter().add(14 * std::max(m, n) * q * q + 8 * q * q * q);

    values.resize(length(count));
    SingularDecomposition result{std::move(values), Tensor({count, m}), Tensor({count, n})};
    for (std::int64_t i = 0; i < count; ++i) {
        const auto left = [&](std::int64_t j) { return ut[length(i + j * q)]; };
        const auto right = [&](std::int64_t j) { return v[length(i * n + j)]; };
        double largest = 0;
        for (std::int64_t j = 0; j < q; ++j)
            if (const double entry = n <= m ? right(j) : left(j);
                std::abs(entry) > std::abs(largest))
                largest = entry;
        const double sign = largest < 0 ? -1 : 1;
        for (std::int64_t j = 0; j < m; ++j)
            result.left.data()[i * m + j] = static_cast<real>(sign * left(j));
        for (std::int64_t j = 0; j < n; ++j)
            result.right.data()[i * n + j] = static_cast<real>(sign * right(j));
    }
    return result;
}

Tensor row_coefficients(const Tensor& a, const Tensor& b) {
    require(a.ndim() == 2 && b.ndim() == 2 && a.size(1) == b.size(1),
            "[row_coefficients] expected two matrices with rows of one length, got {} and {}",
            shown(a.shape()), shown(b.shape()));
    check_finite("row_coefficients", a);
    const std::int64_t r = a.size(0), s = b.size(0), n = a.size(1);
    const OneThread alone(n);
    const Doubles rows(a.values().begin(), a.values().end());
    Doubles gram = product(rows, rows, r, r, n, CblasTrans);
    // Column-major C lies in memory as its transpose: (s,n)·(n,r).
    Doubles c = product({b.values().begin(), b.values().end()}, rows, s, r, n, CblasTrans);
    {
        const BlasCall call;
        const lapack_int info = LAPACKE_dposv(LAPACK_COL_MAJOR, 'L', narrow(r), narrow(s),
                                              gram.data(), narrow(r), c.data(), narrow(r));
        require(info == 0, "[row_coefficients] the {} rows depend on each other", r);
    }
    meter().add(2 * r * (r + s) * n + r * r * r / 3 + 2 * r * r * s);
    Tensor result({r, s});
    for (std::int64_t k = 0; k < r; ++k)
        for (std::int64_t j = 0; j < s; ++j)
            result.data()[k * s + j] = static_cast<real>(c[length(j * r + k)]);
    return result;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
