#include "nn/mask.h"

#include "tensor/kernels/elementwise.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

Tensor masked(const BitMask& mask, const Tensor& x, real scale) {
    Tensor y(x.shape());
    const std::int64_t n = x.numel();
    const real* in = x.data();
    real* out = y.data();
    const std::uint8_t* bytes = mask.bytes();
    const auto write = [=](std::int64_t byte, unsigned count) {
        const unsigned bits = bytes[byte];
        for (unsigned i = 0; i < count; ++i) {
            const real value = scale * in[8 * byte + i];
            out[8 * byte + i] = bits & (1U << i) ? value : 0;
        }
    };
    const std::int64_t whole = n / 8;  // eight elements at once make one vector
#pragma omp parallel for schedule(static) if (n > parallel_threshold)
    for (std::int64_t byte = 0; byte < whole; ++byte) write(byte, 8);
    if (n % 8 > 0) write(whole, static_cast<unsigned>(n % 8));
    meter().add(n);
    return y;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
