#include "instant/methods/sketch.h"

#include <algorithm>
#include <cmath>

#include "tensor/checked.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

double dot(const real* a, const real* b, std::int64_t n) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
    return sum;
}

/// x ← (I − 2 v vᵀ) x of unit v, on the last n entries.
void reflect(const real* v, real* x, std::int64_t n) {
    const auto twice = static_cast<real>(2 * dot(v, x, n));
    for (std::int64_t i = 0; i < n; ++i) x[i] -= twice * v[i];
}

/// The rows of one matrix (R, N) become Householder vectors v_j, zero before entry j, and then the
/// first R rows of H_0 H_1 … H_{R−1}.
void orthonormalise(real* rows, std::int64_t rank, std::int64_t length) {
    std::vector<real> reflectors(static_cast<std::size_t>(rank * length), 0);
    const auto reflector = [&](std::int64_t j) { return reflectors.data() + j * length + j; };
    for (std::int64_t j = 0; j < rank; ++j) {
        const std::int64_t n = length - j;
        real *v = reflector(j), *x = rows + j * length + j;
        const double norm = std::sqrt(dot(x, x, n));
        std::copy_n(x, n, v);
        // Away from x, so that nothing cancels.
        v[0] += static_cast<real>(x[0] < 0 ? -norm : norm);
        const double size = std::sqrt(dot(v, v, n));
        if (size > 0)
            for (std::int64_t i = 0; i < n; ++i) v[i] = static_cast<real>(v[i] / size);
        for (std::int64_t k = j + 1; k < rank; ++k) reflect(v, rows + k * length + j, n);
    }
    std::fill_n(rows, rank * length, real(0));
    for (std::int64_t j = 0; j < rank; ++j) rows[j * length + j] = 1;
    for (std::int64_t j = rank - 1; j >= 0; --j)
        for (std::int64_t k = j; k < rank; ++k)
            reflect(reflector(j), rows + k * length + j, length - j);
}

}  // namespace

std::int64_t orthonormalise_flops(std::int64_t rank, std::int64_t length) {
    Checked flops = 0;
    for (std::int64_t j = 0; j < rank; ++j) {
        const Checked n = length - j;
        flops += 5 * n;                   // two norms and a division
        flops += 4 * n * (rank - j - 1);  // on the rows below
        flops += 4 * n * (rank - j);      // on those of the result
    }
    return flops;
}

void orthonormalise_rows(Tensor& rows) {
    const std::int64_t batch = rows.size(0), rank = rows.size(1), length = rows.size(2);
    require(rank <= length, "[sketch] {} directions do not fit into {} dimensions", rank, length);
    real* data = rows.data();
#pragma omp parallel for schedule(static) if (batch > 1)
    for (std::int64_t b = 0; b < batch; ++b) orthonormalise(data + b * rank * length, rank, length);
    meter().add(Checked(batch) * orthonormalise_flops(rank, length));
}

std::vector<double> Sketch::energies() const {
    const Tensor& other = side == Side::token ? right : left;
    const std::int64_t batch = other.size(0), rank = other.size(1), length = other.size(2);
    std::vector<double> all(static_cast<std::size_t>(rank), 0);
    for (std::int64_t b = 0; b < batch; ++b)
        for (std::int64_t j = 0; j < rank; ++j) {
            const real* row = other.data() + (b * rank + j) * length;
            all[static_cast<std::size_t>(j)] += dot(row, row, length);
        }
    meter().add(2 * other.numel());
    return all;
}

Sketch sketch(const Tensor& g, Side side, const Tensor& omega, std::int64_t power) {
    const bool token = side == Side::token;
    // From one factor to the other, and back: each a product with g.
    const auto other = [&](const Tensor& basis) {
        return matmul(basis, g, Op::none, token ? Op::none : Op::transpose);
    };
    const auto onto = [&](const Tensor& rows) {
        Tensor basis = matmul(rows, g, Op::none, token ? Op::transpose : Op::none);
        orthonormalise_rows(basis);
        return basis;
    };
    Tensor basis = onto(omega), coefficients = other(basis);
    for (std::int64_t i = 0; i < power; ++i) {
        basis = onto(coefficients);
        coefficients = other(basis);
    }
    return token ? Sketch{basis, coefficients, side} : Sketch{coefficients, basis, side};
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
