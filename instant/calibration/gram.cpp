#include "instant/calibration/gram.h"

#include <algorithm>
#include <cmath>

#include "instant/methods/options.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

void Gram::add(const Tensor& values) {
    require(values.ndim() == 3, "[gram] expected (samples, tokens, channels), got {}",
            shown(values.shape()));
    const std::int64_t batch = values.size(0), tokens = values.size(1), channels = values.size(2);
    if (tokens < min_tokens_) return;
    tokens_ = tokens;
    side_ = chosen_side(side_, tokens, channels);
    const bool token = *side_ == Side::token;
    const std::int64_t n = token ? tokens : channels;
    if (!sum_.defined()) sum_ = Tensor::zeros({n, n});
    require(sum_.size(0) == n, "[{}] calibration saw {} {} before and now {}. Hint: {}",
            current_layer(), sum_.size(0), token ? "tokens" : "channels", n,
            "pad sequences to one length, or use the channel side");
    const int shift = scale_.include(values);
    if (shift != 0) scale_in_place(sum_, std::ldexp(real(1), shift));
    const Tensor x = scale_.apply(values);
    if (token)
        add_samples(batch, channels, x.data());
    else  // C += Σ_b x_bᵀ x_b      (C,B·L)·(B·L,C)
        syrk_uncounted(n, batch * tokens, {x.data(), channels, Op::transpose}, sum_.data(), n, 1,
                       1);
    meter().add(n * (n + 1) * (x.numel() / n));
}

// C += Σ_b x_b x_bᵀ      (L,C)·(C,L)
// A fixed number of partial sums, each on one thread and added up in their order: the bits do not
// depend on the number of threads.
void Gram::add_samples(std::int64_t batch, std::int64_t channels, const real* x) {
    const std::int64_t n = sum_.size(0), parts = std::min<std::int64_t>(batch, 16);
    Tensor partial({parts, n, n});
#pragma omp parallel for schedule(static)
    for (std::int64_t part = 0; part < parts; ++part) {
        const std::int64_t begin = part * batch / parts, end = (part + 1) * batch / parts;
        for (std::int64_t b = begin; b < end; ++b)
            syrk_uncounted(n, channels, {x + b * n * channels, channels},
                           partial.data() + part * n * n, n, 1, b > begin ? real(1) : real(0));
    }
#pragma omp parallel for schedule(static)
    for (std::int64_t row = 0; row < n; ++row)
        for (std::int64_t part = 0; part < parts; ++part)
            for (std::int64_t column = 0; column <= row; ++column)
                sum_.data()[row * n + column] += partial.data()[(part * n + row) * n + column];
}

Tensor Gram::sum() const {
    Tensor full = sum_.clone();
    const std::int64_t n = full.size(0);
    for (std::int64_t row = 0; row < n; ++row)
        for (std::int64_t column = 0; column < row; ++column)
            full.data()[column * n + row] = full.data()[row * n + column];
    return full;
}

void Gram::fade(double factor) {
    if (sum_.defined()) scale_in_place(sum_, static_cast<real>(factor));
}

void Gram::restore(const RunningSum& state) {
    side_ = state.side;
    tokens_ = state.tokens;
    scale_ = state.scale;
    sum_ = state.sum.clone();
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
