#include "instant/gram.h"

#include "tensor/ops.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

void Gram::add(const Tensor& x) {
    const std::int64_t batch = x.size(0), tokens = x.size(1), channels = x.size(2);
    if (tokens < min_tokens_) return;
    tokens_ = tokens;
    if (!side_) side_ = tokens <= channels ? Side::token : Side::channel;
    const bool token = *side_ == Side::token;
    const std::int64_t n = token ? tokens : channels;
    if (!sum_.defined()) sum_ = Tensor::zeros({n, n});
    require(sum_.size(0) == n, "[{}] calibration saw {} {} before and now {}. Hint: {}",
            current_layer(), sum_.size(0), token ? "tokens" : "channels", n,
            "pad sequences to one length, or use the channel side");
    if (token) {
        for (std::int64_t b = 0; b < batch; ++b) {  // C += x_b x_bᵀ      (L,C)·(C,L)
            const real* sample = x.data() + b * tokens * channels;
            gemm(n, n, channels, {sample, channels}, {sample, channels, Op::transpose}, sum_.data(),
                 n, 1, 1);
        }
    } else {  // C += Σ_b x_bᵀ x_b      (C,B·L)·(B·L,C)
        gemm(n, n, batch * tokens, {x.data(), channels, Op::transpose}, {x.data(), channels},
             sum_.data(), n, 1, 1);
    }
}

void ObservingRule::save(const LinearInput& x, Saved& saved, Needs needs) const {
    if (x_ && needs.gw) x_->add(x.matrix());
    ExactRule::instance()->save(x, saved, needs);
}

LinearGrads ObservingRule::backward(const Tensor& gy, const Tensor& w, const Saved& saved,
                                    Needs needs) const {
    if (g_ && needs.gx) g_->add(gy);
    return ExactRule::instance()->backward(gy, w, saved, needs);
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
