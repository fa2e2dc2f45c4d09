#include "nn/mask.h"

#include <algorithm>
#include <cmath>

#include "tensor/kernels/bits.h"
#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr std::int64_t block = 4096;  // elements, a whole number of bytes of a mask

}  // namespace

Tensor rectified(const Tensor& x, BitMask& passed, real most) {
    Tensor y(x.shape());
    const std::int64_t n = x.numel();
    real* out = y.data();
#pragma omp parallel for schedule(static) if (n > parallel_threshold)
    for (std::int64_t begin = 0; begin < n; begin += block)
        rectify(std::min(block, n - begin), x.data() + begin, most, out + begin,
                passed.bytes() + begin / 8);
    meter().add((std::isnan(most) ? 2 : 3) * n);
    return y;
}

Tensor masked(const BitMask& mask, const Tensor& x, real scale) {
    Tensor y(x.shape());
    const std::int64_t n = x.numel();
#pragma omp parallel for schedule(static) if (n > parallel_threshold)
    for (std::int64_t begin = 0; begin < n; begin += block)
        apply_mask(mask, begin, std::min(block, n - begin), x.data() + begin, y.data() + begin,
                   scale);
    meter().add(n);
    return y;
}

void apply_mask(const BitMask& mask, std::int64_t first, std::int64_t n, const real* x, real* y,
                real scale) {
    std::int64_t i = 0;
    for (; i < n && (first + i) % 8 != 0; ++i) y[i] = mask[first + i] ? scale * x[i] : 0;
    select_by_bits(n - i, mask.bytes() + (first + i) / 8, scale, x + i, y + i);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
