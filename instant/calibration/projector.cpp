#include "instant/calibration/projector.h"

#include <algorithm>
#include <cmath>

#include "tensor/meter.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

double power(double eigenvalue, int exponent) {
    return std::pow(std::max(eigenvalue, 0.0), exponent);
}

/// Eigenvalues, divided by a power of two near the largest: shares of their squares stay the same,
/// to the bit, and the squares fit.
struct Scaled {
    explicit Scaled(const std::vector<double>& eigenvalues) : values(eigenvalues) {
        const double largest = values.empty() ? 0 : std::ranges::max(values);
        if (!(largest > 0) || !std::isfinite(largest)) return;
        exponent = std::ilogb(largest);
        for (double& value : values) value = std::ldexp(value, -exponent);
    }
    std::vector<double> values;
    int exponent = 0;
};

double total(const std::vector<double>& eigenvalues, int exponent) {
    double sum = 0;
    for (const double value : eigenvalues) sum += power(value, exponent);
    return sum;
}

/// Of a decomposition that may be partial.
double total(const EigenDecomposition& spectrum, const Scaled& leading, int exponent) {
    if (std::ssize(spectrum.values) == spectrum.vectors.size(1))
        return total(leading.values, exponent);
    return std::ldexp(exponent == 1 ? spectrum.sum : spectrum.sum_squares,
                      -exponent * leading.exponent);
}

/// Of the leading eigenvalues of an n x n matrix, with the sum of squares of all.
std::int64_t truncated_rank(const std::vector<double>& leading, double squares, std::int64_t n,
                            const Truncation& truncation) {
    if (truncation.rank) return std::min(*truncation.rank, n);
    if (truncation.epsilon >= 1) return n;
    double kept = 0;
    std::size_t k = 0;
    while (k < leading.size() && (k == 0 || kept < truncation.epsilon * squares))
        kept += power(leading[k++], 2);
    return std::min(static_cast<std::int64_t>(k) + truncation.oversample, n);
}

double kept_share(const std::vector<double>& leading, std::int64_t rank, int exponent, double all) {
    double kept = 0;
    for (std::size_t i = 0; i < leading.size() && i < static_cast<std::size_t>(rank); ++i)
        kept += power(leading[i], exponent);
    return all > 0 ? kept / all : 1;
}

}  // namespace

std::int64_t truncated_rank(const std::vector<double>& eigenvalues, const Truncation& truncation) {
    const Scaled scaled(eigenvalues);
    return truncated_rank(scaled.values, total(scaled.values, 2), std::ssize(eigenvalues),
                          truncation);
}

std::int64_t truncated_rank(const EigenDecomposition& spectrum, const Truncation& truncation) {
    const Scaled scaled(spectrum.values);
    return truncated_rank(scaled.values, total(spectrum, scaled, 2), spectrum.vectors.size(1),
                          truncation);
}

double kept_share(const std::vector<double>& eigenvalues, std::int64_t rank, int exponent) {
    const Scaled scaled(eigenvalues);
    return kept_share(scaled.values, rank, exponent, total(scaled.values, exponent));
}

double kept_share(const EigenDecomposition& spectrum, std::int64_t rank, int exponent) {
    const Scaled scaled(spectrum.values);
    return kept_share(scaled.values, rank, exponent, total(spectrum, scaled, exponent));
}

EigenDecomposition leading_spectrum(const Tensor& autocorrelation, const Truncation& truncation,
                                    const Tensor& start) {
    constexpr std::int64_t small = 256, first_count = 16;
    const std::int64_t n = autocorrelation.size(0);
    if (n < small || (!truncation.rank && truncation.epsilon >= 1)) return eigh(autocorrelation);
    if (truncation.rank) return eigh_leading(autocorrelation, std::min(*truncation.rank, n), start);
    // How many are needed only shows on the way.
    std::int64_t count = start.defined() ? start.size(0) : first_count + truncation.oversample;
    for (; 4 * count <= n; count *= 2) {
        EigenDecomposition spectrum = eigh_leading(autocorrelation, count, start);
        const bool enough =
            kept_share(spectrum, count - truncation.oversample, 2) >= truncation.epsilon;
        if (enough && count > truncation.oversample) return spectrum;
    }
    return eigh(autocorrelation);
}

Projector make_projector(const EigenDecomposition& spectrum, Side side,
                         const Truncation& truncation, const Tensor& weights) {
    const std::int64_t rank = truncated_rank(spectrum, truncation);
    const double energy = kept_share(spectrum, rank, 2), signal = kept_share(spectrum, rank, 1);
    Tensor basis = spectrum.vectors.rows(0, rank).clone();
    if (truncation.offset != Offset::none) {
        const double kept = truncation.offset == Offset::energy ? energy : signal;
        scale_in_place(basis, static_cast<real>(1 / std::sqrt(kept)));
    }
    if (weights.defined()) basis = scale_columns(basis, weights, 1);
    return Projector{{side, std::move(basis)}, energy, signal}.with(weights);
}

Projector Projector::with(Tensor row_weights) && {
    weights = std::move(row_weights);
    basis.mark(Category::projectors);
    if (weights.defined()) {
        weights.mark(Category::projectors);
        // (Ũ D) D⁻², so that a basis that was stored gives the same bits.
        Tensor inverse = scale_columns(basis, weights, -2);
        inverse.mark(Category::projectors);
        dual = std::make_shared<const Subspace>(Subspace{side, std::move(inverse)});
    }
    return std::move(*this);
}

Tensor weighted_rows(const Tensor& autocorrelation, const Tensor& weights) {
    const std::int64_t n = autocorrelation.size(0);
    require(weights.shape() == Shape{n}, "[projector] expected {} weights, got {}", n,
            shown(weights));
    const real* d = weights.data();
    Tensor weighted = autocorrelation.clone();
    real largest = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < n; ++j) weighted.data()[i * n + j] *= d[i] * d[j];
        largest = std::max(largest, weighted.data()[i * n + i]);
    }
    // Below the zeros of directions that were not seen: none of them mixes with a row that is out.
    for (std::int64_t i = 0; i < n; ++i)
        if (d[i] == 0) weighted.data()[i * n + i] = real(-1e-6) * largest;
    meter().add(2 * n * n);
    return weighted;
}

Tensor scale_columns(const Tensor& basis, const Tensor& weights, int power) {
    const std::int64_t rows = basis.size(0), columns = basis.size(1);
    Tensor scaled({rows, columns});
    for (std::int64_t i = 0; i < columns; ++i) {
        const real d = weights.data()[i];
        const real factor = d > 0 ? std::pow(d, static_cast<real>(power)) : real(0);
        for (std::int64_t row = 0; row < rows; ++row)
            scaled.data()[row * columns + i] = factor * basis.data()[row * columns + i];
    }
    meter().add(rows * columns);
    return scaled;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
