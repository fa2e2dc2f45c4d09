// Compiled once for each instruction set, by including itself; the best is chosen when first
// called.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/softmax.cpp"
#include <hwy/foreach_target.h>  // first: it includes this file again
//
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/kernels/softmax.h"

#ifndef SLIMGRAD_DOUBLE
HWY_BEFORE_NAMESPACE();
namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<float> d;
const hn::RebindToSigned<decltype(d)> bits;
using Vector = hn::Vec<decltype(d)>;

/// e^x for x <= 0, within 2 units in the last place; 0 below the smallest normal number. NaN passes
/// through. With n = round(x / ln 2) and r = x - n ln 2: e^x = 2ⁿ eʳ, eʳ by a minimax polynomial.
HWY_INLINE Vector exp_of_negative(Vector x) {
    const auto set = [](float value) { return hn::Set(d, value); };
    const Vector rounder = set(0x1.8p23F);  // adding it leaves a whole number in the last bits
    const Vector shifted = hn::MulAdd(x, set(1.44269504F), rounder);
    const Vector n = hn::Sub(shifted, rounder);
    const Vector high = hn::NegMulAdd(n, set(0.693359375F), x);
    const Vector r = hn::NegMulAdd(n, set(-2.12194440e-4F), high);
    Vector e = set(0.00138366374F);
    for (const float coefficient :
         {0.00837498065F, 0.0416682363F, 0.166664183F, 0.499999911F, 1.F, 1.F})
        e = hn::MulAdd(e, r, set(coefficient));
    const auto exponent = hn::Add(hn::BitCast(bits, shifted), hn::Set(bits, 127));
    const Vector power = hn::BitCast(d, hn::ShiftLeft<23>(exponent));
    return hn::IfThenElse(hn::Lt(x, set(-87.F)), hn::Zero(d), hn::Mul(e, power));
}

/// All lanes of a vector, or the first few at the end of a row.
struct Whole {
    Vector load(const float* from, float /*fill*/) const { return hn::LoadU(d, from); }
    void store(Vector value, float* to) const { hn::StoreU(value, d, to); }
};
struct Part {
    hn::Mask<decltype(d)> mask;
    Vector load(const float* from, float fill) const {
        return hn::IfThenElse(mask, hn::MaskedLoad(mask, d, from), hn::Set(d, fill));
    }
    void store(Vector value, float* to) const { hn::BlendedStore(value, mask, d, to); }
};

/// f(i, lanes, chain) for all vectors of a row. Sums and maxima are kept in four chains, so that an
/// operation need not wait for the one before.
constexpr int chains = 4;
template <class F>
HWY_INLINE void for_each_vector(std::int64_t n, F f) {
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    std::int64_t i = 0;
    for (; i + chains * lanes <= n; i += chains * lanes)
        for (int chain = 0; chain < chains; ++chain) f(i + chain * lanes, Whole{}, chain);
    for (; i + lanes <= n; i += lanes) f(i, Whole{}, 0);
    if (i < n) f(i, Part{hn::FirstN(d, static_cast<std::size_t>(n - i))}, 0);
}

void softmax(std::int64_t rows, std::int64_t n, const float* x, float* y) {
    constexpr float nothing = -std::numeric_limits<float>::infinity();
    for (const float* const end = x + rows * n; x != end; x += n, y += n) {
        const Vector least = hn::Set(d, std::numeric_limits<float>::lowest());
        Vector peaks[chains] = {least, least, least, least};
        for_each_vector(n, [&](std::int64_t i, auto lanes, int chain) HWY_ATTR {
            peaks[chain] = hn::Max(peaks[chain], lanes.load(x + i, nothing));
        });
        const Vector peak =
            hn::MaxOfLanes(d, hn::Max(hn::Max(peaks[0], peaks[1]), hn::Max(peaks[2], peaks[3])));

        const Vector zero = hn::Zero(d);
        Vector sums[chains] = {zero, zero, zero, zero};
        for_each_vector(n, [&](std::int64_t i, auto lanes, int chain) HWY_ATTR {
            const Vector e = exp_of_negative(hn::Sub(lanes.load(x + i, nothing), peak));
            sums[chain] = hn::Add(sums[chain], e);
            lanes.store(e, y + i);
        });
        const Vector total =
            hn::SumOfLanes(d, hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));

        const Vector inverse = hn::Div(hn::Set(d, 1), total);
        for_each_vector(n, [&](std::int64_t i, auto lanes, int) HWY_ATTR {
            lanes.store(hn::Mul(lanes.load(y + i, 0), inverse), y + i);
        });
    }
}

void softmax_backward(std::int64_t rows, std::int64_t n, const float* y, const float* gy,
                      float* gx) {
    for (const float* const end = y + rows * n; y != end; y += n, gy += n, gx += n) {
        const Vector zero = hn::Zero(d);
        Vector sums[chains] = {zero, zero, zero, zero};
        for_each_vector(n, [&](std::int64_t i, auto lanes, int chain) HWY_ATTR {
            sums[chain] = hn::MulAdd(lanes.load(y + i, 0), lanes.load(gy + i, 0), sums[chain]);
        });
        const Vector dot =
            hn::SumOfLanes(d, hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
        for_each_vector(n, [&](std::int64_t i, auto lanes, int) HWY_ATTR {
            const Vector g = hn::Sub(lanes.load(gy + i, 0), dot);
            lanes.store(hn::Mul(lanes.load(y + i, 0), g), gx + i);
        });
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

#ifdef SLIMGRAD_DOUBLE

void softmax_rows(std::int64_t rows, std::int64_t n, const real* x, real* y) {
    softmax_rows_plain(rows, n, x, y);
}
void softmax_rows_backward(std::int64_t rows, std::int64_t n, const real* y, const real* gy,
                           real* gx) {
    softmax_rows_backward_plain(rows, n, y, gy, gx);
}

#else

HWY_EXPORT(softmax);
HWY_EXPORT(softmax_backward);

void softmax_rows(std::int64_t rows, std::int64_t n, const real* x, real* y) {
    if (n > 0) HWY_DYNAMIC_DISPATCH(softmax)(rows, n, x, y);
}
void softmax_rows_backward(std::int64_t rows, std::int64_t n, const real* y, const real* gy,
                           real* gx) {
    if (n > 0) HWY_DYNAMIC_DISPATCH(softmax_backward)(rows, n, y, gy, gx);
}

#endif

void softmax_rows_plain(std::int64_t rows, std::int64_t n, const real* x, real* y) {
    for (std::int64_t row = 0; row < rows; ++row, x += n, y += n) {
        real peak = std::numeric_limits<real>::lowest();
        for (std::int64_t i = 0; i < n; ++i) peak = std::max(peak, x[i]);
        real total = 0;
        for (std::int64_t i = 0; i < n; ++i) {
            y[i] = std::exp(x[i] - peak);
            total += y[i];
        }
        for (std::int64_t i = 0; i < n; ++i) y[i] /= total;
    }
}
void softmax_rows_backward_plain(std::int64_t rows, std::int64_t n, const real* y, const real* gy,
                                 real* gx) {
    for (std::int64_t row = 0; row < rows; ++row, y += n, gy += n, gx += n) {
        real dot = 0;
        for (std::int64_t i = 0; i < n; ++i) dot += y[i] * gy[i];
        for (std::int64_t i = 0; i < n; ++i) gx[i] = y[i] * (gy[i] - dot);
    }
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
#endif  // HWY_ONCE
