#include "instant/lab/fieller.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// By bisection: the standard library has erfc, but not its inverse.
double normal_quantile(double confidence) {
    double low = 0, high = 40;
    for (int i = 0; i < 100; ++i) {
        const double middle = (low + high) / 2;
        (std::erfc(middle / std::numbers::sqrt2) > 1 - confidence ? low : high) = middle;
    }
    return low;
}

}  // namespace

double student_quantile(double confidence, std::int64_t degrees) {
    if (degrees < 1) return std::numeric_limits<double>::infinity();
    const double z = normal_quantile(confidence), z2 = z * z;
    const auto d = static_cast<double>(degrees);
    const double g1 = z * (z2 + 1) / 4;
    const double g2 = z * ((5 * z2 + 16) * z2 + 3) / 96;
    const double g3 = z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384;
    const double g4 = z * ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945) / 92160;
    return z + g1 / d + g2 / (d * d) + g3 / (d * d * d) + g4 / (d * d * d * d);
}

// (s − ρ v)² = t² (var_s − 2 ρ cov + ρ² var_v) / n  is  a ρ² − 2 b ρ + c = 0.
Interval fieller(const PairedMeans& m, double confidence) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    if (m.n < 2) return {0, infinity};
    const double t = student_quantile(confidence, m.n - 1);
    const double k = t * t / static_cast<double>(m.n);
    const double a = m.v * m.v - k * m.var_v;
    const double b = m.s * m.v - k * m.cov;
    const double c = m.s * m.s - k * m.var_s;
    const double root = std::sqrt(std::max(b * b - a * c, 0.0));
    // For a > 0 the solutions lie between two roots, for a < 0 outside of them.
    if (a > 0) return {std::max((b - root) / a, 0.0), (b + root) / a};
    if (a < 0 && c > 0) return {(b - root) / a, infinity};
    return {0, infinity};
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
