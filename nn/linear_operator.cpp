#include "nn/linear_operator.h"

#include "tensor/meter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

void require_fits(const Subspace& subspace, std::int64_t tokens, std::int64_t channels) {
    const bool token = subspace.side == Side::token;
    const std::int64_t length = token ? tokens : channels;
    require(subspace.dim() == length, "[{}] calibrated for {} {}, got {}. Hint: {}",
            current_layer(), subspace.dim(), token ? "tokens" : "channels", length,
            token ? "give it sequences or images of one size, or use the channel side"
                  : "calibrate again");
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
