// Compiled once for each instruction set, by including itself; the best is chosen when first
// called.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/philox.cpp"
#include <hwy/foreach_target.h>  // first: it includes this file again
//
#include <hwy/highway.h>

#include "tensor/kernels/philox.h"

HWY_BEFORE_NAMESPACE();
namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

const hn::ScalableTag<std::uint32_t> d;
using Vector = hn::Vec<decltype(d)>;

/// Both halves of the 64 bits of a · factor, lane by lane.
HWY_INLINE void multiply(Vector a, Vector factor, Vector& high, Vector& low) {
#if HWY_TARGET == HWY_SCALAR
    const std::uint64_t product = std::uint64_t{hn::GetLane(a)} * hn::GetLane(factor);
    high = hn::Set(d, static_cast<std::uint32_t>(product >> 32));
    low = hn::Set(d, static_cast<std::uint32_t>(product));
#else
    const hn::RepartitionToWide<decltype(d)> wide;
    const auto even = hn::MulEven(a, factor);
    const auto odd = hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(wide, a))), factor);
    high = hn::OddEven(hn::BitCast(d, odd), hn::BitCast(d, hn::ShiftRight<32>(even)));
    low = hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even));
#endif
}

HWY_INLINE void one_round(Vector& c0, Vector& c1, Vector& c2, Vector& c3, std::uint32_t k0,
                          std::uint32_t k1) {
    Vector high0, low0, high1, low1;
    multiply(c0, hn::Set(d, 0xD2511F53), high0, low0);
    multiply(c2, hn::Set(d, 0xCD9E8D57), high1, low1);
    c0 = hn::Xor(hn::Xor(high1, c1), hn::Set(d, k0));
    c1 = low1;
    c2 = hn::Xor(hn::Xor(high0, c3), hn::Set(d, k1));
    c3 = low0;
}

}  // namespace

std::uint32_t philox_blocks(const std::array<std::uint32_t, 4>& counter,
                            const std::array<std::uint32_t, 2>& key, std::span<std::uint32_t> out) {
    const auto lanes = static_cast<std::uint32_t>(hn::Lanes(d));
    std::uint32_t done = 0;
    const auto rounds = [&key](auto each) {
        std::uint32_t k0 = key[0], k1 = key[1];
        for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9, k1 += 0xBB67AE85) each(k0, k1);
    };
    const auto fits = [&](std::uint32_t vectors) {
        return out.size() >= (std::size_t{done} + vectors * lanes) * 4;
    };
    // A round waits for the products of the one before: two chains side by side fill the gaps.
    for (; fits(2); done += 2 * lanes) {
        Vector c0 = hn::Iota(d, counter[0] + done), c1 = hn::Set(d, counter[1]),
               c2 = hn::Set(d, counter[2]), c3 = hn::Set(d, counter[3]);
        Vector e0 = hn::Iota(d, counter[0] + done + lanes), e1 = c1, e2 = c2, e3 = c3;
        rounds([&](std::uint32_t k0, std::uint32_t k1) {
            one_round(c0, c1, c2, c3, k0, k1);
            one_round(e0, e1, e2, e3, k0, k1);
        });
        std::uint32_t* to = out.data() + std::size_t{done} * 4;
        hn::StoreInterleaved4(c0, c1, c2, c3, d, to);
        hn::StoreInterleaved4(e0, e1, e2, e3, d, to + std::size_t{lanes} * 4);
    }
    for (; fits(1); done += lanes) {
        Vector c0 = hn::Iota(d, counter[0] + done), c1 = hn::Set(d, counter[1]),
               c2 = hn::Set(d, counter[2]), c3 = hn::Set(d, counter[3]);
        rounds([&](std::uint32_t k0, std::uint32_t k1) { one_round(c0, c1, c2, c3, k0, k1); });
        hn::StoreInterleaved4(c0, c1, c2, c3, d, out.data() + std::size_t{done} * 4);
    }
    return done;
}

}  // namespace HWY_NAMESPACE
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

HWY_EXPORT(philox_blocks);

std::uint32_t philox_blocks(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key,
                            std::span<std::uint32_t> out) {
    return HWY_DYNAMIC_DISPATCH(philox_blocks)(counter, key, out);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
#endif  // HWY_ONCE
