#include "tensor/kernels/common_scale.h"

#include <bit>
#include <cmath>
#include <type_traits>

#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// Up to this exponent, of either sign, fourth powers of values and of what is 2^-20 of them,
/// summed over more values than memory holds, are normal numbers; eigenvalues are in double in both
/// builds.
constexpr int ordinary = sizeof(real) == 4 ? 40 : 200;

}  // namespace

std::optional<int> largest_exponent(const Tensor& x) {
    using Bits = std::conditional_t<sizeof(real) == 4, std::uint32_t, std::uint64_t>;
    constexpr Bits magnitude = static_cast<Bits>(-1) >> 1;  // all but the sign
    const std::int64_t n = x.numel();
    const real* values = x.data();
    Bits largest = 0;  // magnitudes are ordered as their bits are
#pragma omp parallel for simd schedule(static) reduction(max : largest) if (n > parallel_threshold)
    for (std::int64_t i = 0; i < n; ++i)
        largest = std::max(largest, std::bit_cast<Bits>(values[i]) & magnitude);
    const real value = std::bit_cast<real>(largest);
    if (value == 0 || !std::isfinite(value)) return std::nullopt;
    return std::ilogb(value);
}

Tensor times_power_of_two(const Tensor& x, int exponent) {
    return map(x, 1, [exponent](real value) { return std::ldexp(value, exponent); });
}

int CommonScale::include(std::optional<int> largest) {
    if (!largest) return 0;
    const int wanted = std::abs(*largest) <= ordinary ? 0 : *largest;
    if (exponent_ && wanted <= *exponent_) return 0;
    const int shift = exponent_ ? 2 * (*exponent_ - wanted) : 0;
    exponent_ = wanted;
    return shift;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
