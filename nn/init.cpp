#include "nn/init.h"

#include <cmath>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

Tensor kaiming_uniform(Shape shape, std::int64_t fan_in, Stream& stream) {
    require(fan_in > 0, "[init] fan_in must be positive, got {}", fan_in);
    const real bound = 1 / std::sqrt(static_cast<real>(fan_in));
    return uniform(std::move(shape), -bound, bound, stream);
}

Tensor xavier_uniform(Shape shape, std::int64_t fan_in, std::int64_t fan_out, Stream& stream) {
    require(fan_in + fan_out > 0, "[init] fan_in + fan_out must be positive, got {}",
            fan_in + fan_out);
    const real bound = std::sqrt(real(6) / static_cast<real>(fan_in + fan_out));
    return uniform(std::move(shape), -bound, bound, stream);
}

Tensor truncated_normal(Shape shape, real std, Stream& stream) {
    Tensor t(std::move(shape));
    for (real& value : t.values()) {
        do value = std * stream.normal();
        while (std::abs(value) > 2);
    }
    return t;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
