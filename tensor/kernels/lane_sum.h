#pragma once

#include <cstdint>

#include "tensor/config.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

/// Σ f(i) for begin <= i < end. Added up in one chain, each addition would wait for the one before;
/// 32 chains side by side keep vector units busy, and the order of additions still depends on
/// nothing but the length.
template <class F>
real lane_sum(std::int64_t begin, std::int64_t end, F f) {
    constexpr std::int64_t lanes = 32;
    const std::int64_t whole = end - (end - begin) % lanes;
    real part[lanes] = {};
    for (std::int64_t i = begin; i < whole; i += lanes)
        for (std::int64_t lane = 0; lane < lanes; ++lane) part[lane] += f(i + lane);
    real total = 0;
    for (const real value : part) total += value;
    for (std::int64_t i = whole; i < end; ++i) total += f(i);
    return total;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
