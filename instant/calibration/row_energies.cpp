#include "instant/calibration/row_energies.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/meter.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

void RowEnergies::add(const Tensor& g) {
    if (left_out_) return;
    require(g.ndim() == 3, "[rows] expected (samples, tokens, channels), got {}", shown(g.shape()));
    const std::int64_t batch = g.size(0), tokens = g.size(1), channels = g.size(2);
    if (!sum_.defined()) sum_ = Tensor::zeros({tokens});
    require(sum_.size(0) == tokens, "[{}] calibration saw {} tokens before and now {}. Hint: {}",
            current_layer(), sum_.size(0), tokens, "pad sequences to one length");
    const int shift = scale_.include(g);
    if (shift != 0) scale_in_place(sum_, std::ldexp(real(1), shift));
    const Tensor scaled = scale_.apply(g);
    const real* values = scaled.data();
    real* sums = sum_.data();
#pragma omp parallel for schedule(static) if (g.numel() > (1 << 14))
    for (std::int64_t row = 0; row < tokens; ++row) {
        double sum = 0;
        for (std::int64_t b = 0; b < batch; ++b)
            for (std::int64_t c = 0; c < channels; ++c) {
                const double value = values[(b * tokens + row) * channels + c];
                sum += value * value;
            }
        sums[row] += static_cast<real>(sum);
    }
    meter().add(2 * g.numel());
}

void RowEnergies::fade(double factor) {
    if (sum_.defined()) scale_in_place(sum_, static_cast<real>(factor));
}

Tensor RowEnergies::weights() const {
    const real largest = std::ranges::max(sum_.values());
    return map(sum_, 2, [largest](real sum) {
        const real root = largest > 0 ? std::sqrt(sum / largest) : real(1);
        return root > std::numeric_limits<real>::epsilon() ? root : real(0);
    });
}

void RowEnergies::restore(const RunningSum& state) {
    scale_ = state.scale;
    sum_ = state.sum.clone();
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
