#include "instant/cost/break_even.h"

#include "tensor/checked.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

double break_even_rank(std::int64_t tokens, std::int64_t in_channels, std::int64_t out_channels,
                       Side side, std::int64_t batch) {
    // Numerator and denominator by `spread`, in integers: R* is exact where it is a whole number.
    const std::int64_t spread = side == Side::token ? 1 : batch;
    const Checked product = Checked(in_channels) * out_channels;
    const Checked all_tokens = Checked(spread) * tokens;
    return static_cast<double>(all_tokens * product) /
           static_cast<double>(all_tokens * (Checked(in_channels) + out_channels) + product);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
