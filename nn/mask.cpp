#include "nn/mask.h"

#include <algorithm>

#include "tensor/kernels/elementwise.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

Tensor masked(const BitMask& mask, const Tensor& x, real scale) {
    Tensor y(x.shape());
    const std::int64_t n = x.numel();
    const real* in = x.data();
    real* out = y.data();
    const std::uint8_t* bytes = mask.bytes();
#pragma omp parallel for schedule(static) if (n > parallel_threshold)
    for (std::int64_t begin = 0; begin < n; begin += 8) {
        const unsigned byte = bytes[begin / 8];
        const std::int64_t end = std::min(begin + 8, n);
        for (std::int64_t i = begin; i < end; ++i)
            out[i] = (byte >> (i - begin)) & 1 ? scale * in[i] : 0;
    }
    meter().add(n);
    return y;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
