#include "instant/calibration/projector.h"

#include <algorithm>
#include <cmath>

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
                         const Truncation& truncation) {
    const std::int64_t rank = truncated_rank(spectrum, truncation);
    Projector projector{{side, spectrum.vectors.rows(0, rank).clone()},
                        kept_share(spectrum, rank, 2),
                        kept_share(spectrum, rank, 1)};
    if (truncation.offset != Offset::none) {
        const double kept =
            truncation.offset == Offset::energy ? projector.energy : projector.signal;
        scale_in_place(projector.basis, static_cast<real>(1 / std::sqrt(kept)));
    }
    projector.basis.mark(Category::projectors);
    return projector;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
