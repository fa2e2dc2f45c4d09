// Compiled once for each instruction set, by including itself; the best is chosen when first
// called.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/bits.cpp"
#include <hwy/foreach_target.h>  // first: it includes this file again
//
#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "tensor/kernels/bits.h"

HWY_BEFORE_NAMESPACE();
namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<real> d;

// A vector of 8 lanes or more fills whole bytes; smaller vectors leave all to the plain loops.
constexpr std::int64_t least = 8;

void rectify_run(std::int64_t n, const real* x, real most, real* y, std::uint8_t* bits) {
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    const auto bound = hn::Set(d, most);
    std::int64_t i = 0;
    for (; lanes >= least && i + lanes <= n; i += lanes) {
        const auto v = hn::LoadU(d, x + i);
        const auto above = hn::Ge(v, bound);            // nowhere, if the bound is NaN
        std::uint8_t bytes[8 * sizeof(std::uint64_t)];  // Highway may write more than a vector has
        hn::StoreMaskBits(d, hn::AndNot(above, hn::Gt(v, hn::Zero(d))), bytes);
        std::memcpy(bits + i / 8, bytes, static_cast<std::size_t>(lanes / 8));
        const auto positive = hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v);
        hn::StoreU(hn::IfThenElse(above, bound, positive), d, y + i);
    }
    for (; i < n; ++i) {
        const bool above = x[i] >= most;
        const unsigned bit = x[i] > 0 && !above, place = i % 8;
        bits[i / 8] = static_cast<std::uint8_t>((place == 0 ? 0 : bits[i / 8]) | bit << place);
        y[i] = above ? most : x[i] < 0 ? real(0) : x[i];
    }
}

void select_run(std::int64_t n, const std::uint8_t* bits, real scale, const real* x, real* y) {
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    const auto factor = hn::Set(d, scale);
    std::int64_t i = 0;
    for (; lanes >= least && i + lanes <= n; i += lanes) {
        std::uint8_t bytes[8 * sizeof(std::uint64_t)] = {};
        std::memcpy(bytes, bits + i / 8, static_cast<std::size_t>(lanes / 8));
        const auto set = hn::LoadMaskBits(d, bytes);
        hn::StoreU(hn::IfThenElseZero(set, hn::Mul(factor, hn::LoadU(d, x + i))), d, y + i);
    }
    for (; i < n; ++i) y[i] = bits[i / 8] >> (i % 8) & 1 ? scale * x[i] : 0;
}

}  // namespace HWY_NAMESPACE
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

HWY_EXPORT(rectify_run);
HWY_EXPORT(select_run);

void rectify(std::int64_t n, const real* x, real most, real* y, std::uint8_t* bits) {
    HWY_DYNAMIC_DISPATCH(rectify_run)(n, x, most, y, bits);
}

void select_by_bits(std::int64_t n, const std::uint8_t* bits, real scale, const real* x, real* y) {
    HWY_DYNAMIC_DISPATCH(select_run)(n, bits, scale, x, y);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
#endif  // HWY_ONCE
