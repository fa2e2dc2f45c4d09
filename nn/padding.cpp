#include "nn/padding.h"

#include <algorithm>

#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

Tensor without_padding(const Tensor& matrix, const LinearCall& call) {
    const Tensor& padding = call.layout.padding;
    if (!padding.defined()) return matrix;
    require(matrix.ndim() == 3, "[{}] expected (samples, tokens, channels), got {}", call.layer,
            shown(matrix.shape()));
    const std::int64_t samples = matrix.size(0), tokens = matrix.size(1), channels = matrix.size(2);
    require(padding.size(0) >= samples && padding.size(1) == tokens,
            "[{}] expected the padding of {} tokens as the model states it, got {}", call.layer,
            to_string({samples, tokens}), shown(padding.shape()));
    Tensor result(matrix.shape());
#pragma omp parallel for schedule(static) if (result.numel() > parallel_threshold)
    for (std::int64_t row = 0; row < samples * tokens; ++row) {
        real* to = result.data() + row * channels;
        if (padding.data()[row] != 0)
            std::fill_n(to, channels, real(0));
        else
            std::copy_n(matrix.data() + row * channels, channels, to);
    }
    return result;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
