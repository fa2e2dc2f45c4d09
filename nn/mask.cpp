#include "nn/mask.h"

#include "tensor/kernels/elementwise.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

Tensor masked(const BitMask& mask, const Tensor& x, real scale) {
    Tensor y(x.shape());
    const std::int64_t n = x.numel();
    constexpr std::int64_t block = 4096;
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
    for (; i + 8 <= n; i += 8) {  // whole bytes
        const unsigned byte = mask.bytes()[(first + i) / 8];
#pragma omp simd
        for (unsigned bit = 0; bit < 8; ++bit)
            y[i + bit] = (byte >> bit) & 1 ? scale * x[i + bit] : 0;
    }
    for (; i < n; ++i) y[i] = mask[first + i] ? scale * x[i] : 0;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
