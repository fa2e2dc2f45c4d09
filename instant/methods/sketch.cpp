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

/// The rows of both, one matrix after the other: (B, R, N) and (B, r, N).
Tensor below(const Tensor& upper, const Tensor& lower) {
    const std::int64_t batch = upper.size(0), first = upper.size(1) * upper.size(2),
                       second = lower.size(1) * lower.size(2);
    Tensor all({batch, upper.size(1) + lower.size(1), upper.size(2)});
    for (std::int64_t b = 0; b < batch; ++b) {
        real* to = all.data() + b * (first + second);
        std::copy_n(upper.data() + b * first, first, to);
        std::copy_n(lower.data() + b * second, second, to + first);
    }
    return all;
}

/// Random directions orthogonal to the basis (B, R, N): the rows of `tail`, made so.
Tensor complement_of(const Tensor& basis, const Tensor& tail) {
    Tensor all = below(basis, broadcast_to(tail, {basis.size(0), tail.size(0), tail.size(1)}));
    orthonormalise_rows(all);
    return slice(all, 1, basis.size(1), tail.size(0));
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
    const std::int64_t batch = other.size(0), rows = other.size(1), length = other.size(2);
    std::vector<double> all(static_cast<std::size_t>(principal), 0);
    for (std::int64_t b = 0; b < batch; ++b)
        for (std::int64_t j = 0; j < principal; ++j) {
            const real* row = other.data() + (b * rows + j) * length;
            all[static_cast<std::size_t>(j)] += dot(row, row, length);
        }
    meter().add(2 * batch * principal * length);
    return all;
}

Sketch sketch(const Tensor& g, const SketchOptions& options, const Tensor& omega,
              const Tensor& tail) {
    const bool token = options.side == Side::token;
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
    for (std::int64_t i = 0; i < options.power; ++i) {
        basis = onto(coefficients);
        coefficients = other(basis);
    }
    const std::int64_t rank = basis.size(1), length = basis.size(2);
    const std::int64_t random = std::min(options.complement, length - rank);
    if (random > 0) {
        const Tensor directions = complement_of(basis, tail.rows(0, random));
        const double unbiased = static_cast<double>(length - rank) / static_cast<double>(random);
        const auto root = static_cast<real>(std::sqrt(options.scale.value_or(unbiased)));
        coefficients = below(coefficients, other(directions) * root);
        basis = below(basis, directions * root);
    }
    if (token) return {basis, coefficients, options.side, rank};
    return {coefficients, basis, options.side, rank};
}

std::int64_t sketch_flops(const SketchOptions& options, std::int64_t rank, std::int64_t tokens,
                          std::int64_t channels) {
    const std::int64_t length = options.side == Side::token ? tokens : channels;
    const Checked l = tokens, cy = channels, r = rank;
    Checked flops = (options.power + 1) * (4 * r * l * cy + orthonormalise_flops(rank, length));
    const std::int64_t random = std::min(options.complement, length - rank);
    if (random > 0)
        flops +=
            orthonormalise_flops(rank + random, length) + 2 * random * l * cy + random * (l + cy);
    return flops;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
