#include "instant/methods/padding.h"

#include <algorithm>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

Tensor without_padding(const Tensor& x, const LinearCall& call) {
    const Tensor& padding = call.layout.padding;
    const std::int64_t batch = x.size(0), tokens = call.op->tokens();
    // Of other tokens than the stated ones nothing is known: a pooled x, a convolution.
    if (!padding.defined() || call.op->window() || padding.size(0) < batch ||
        padding.size(1) != tokens)
        return x;
    const real* is_padding = padding.data();
    const std::int64_t rows = batch * tokens,
                       channels = x.numel() / std::max<std::int64_t>(rows, 1);
    if (std::all_of(is_padding, is_padding + rows, [](real v) { return v == 0; })) return x;
    Tensor kept = x.clone();
    for (std::int64_t row = 0; row < rows; ++row)
        if (is_padding[row] != 0) std::fill_n(kept.data() + row * channels, channels, real(0));
    return kept;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
