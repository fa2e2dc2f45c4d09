// Compiled once for each instruction set, by including itself; the best is chosen when first
// called.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/orthonormal.cpp"
#include <hwy/foreach_target.h>  // first: it includes this file again
//
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/kernels/orthonormal.h"

HWY_BEFORE_NAMESPACE();
namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

const hn::ScalableTag<real> d;
using Vector = hn::Vec<decltype(d)>;

std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(d)); }

/// Calls f(i, mask) for the vectors that hold entries [0, n): all lanes, or the first ones.
template <class Whole, class Rest>
HWY_INLINE void for_each_vector(std::int64_t n, Whole whole, Rest rest) {
    std::int64_t i = 0;
    for (; i + lanes() <= n; i += lanes()) whole(i);
    if (i < n) rest(i, hn::FirstN(d, static_cast<std::size_t>(n - i)));
}

real dot(const real* a, const real* b, std::int64_t n) {
    Vector sum = hn::Zero(d);
    for_each_vector(
        n, [&](std::int64_t i) { sum = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum); },
        [&](std::int64_t i, auto mask) {
            sum = hn::MulAdd(hn::MaskedLoad(mask, d, a + i), hn::MaskedLoad(mask, d, b + i), sum);
        });
    return hn::GetLane(hn::SumOfLanes(d, sum));
}

void scale(real* x, std::int64_t n, real factor) {
    for (std::int64_t i = 0; i < n; ++i) x[i] *= factor;
}

/// x_m ← (I − 2 v vᵀ) x_m of unit v, for M rows that lie `stride` apart.
template <int M>
HWY_INLINE void reflect(const real* v, real* x, std::int64_t stride, std::int64_t n) {
    std::array<Vector, M> sum;
    sum.fill(hn::Zero(d));
    for_each_vector(
        n,
        [&](std::int64_t i) {
            const Vector of_v = hn::LoadU(d, v + i);
            for (int m = 0; m < M; ++m)
                sum[m] = hn::MulAdd(of_v, hn::LoadU(d, x + m * stride + i), sum[m]);
        },
        [&](std::int64_t i, auto mask) {
            const Vector of_v = hn::MaskedLoad(mask, d, v + i);
            for (int m = 0; m < M; ++m)
                sum[m] = hn::MulAdd(of_v, hn::MaskedLoad(mask, d, x + m * stride + i), sum[m]);
        });
    std::array<Vector, M> twice;
    for (int m = 0; m < M; ++m) twice[m] = hn::Mul(hn::Set(d, real(2)), hn::SumOfLanes(d, sum[m]));
    for_each_vector(
        n,
        [&](std::int64_t i) {
            const Vector of_v = hn::LoadU(d, v + i);
            for (int m = 0; m < M; ++m) {
                real* at = x + m * stride + i;
                hn::StoreU(hn::NegMulAdd(twice[m], of_v, hn::LoadU(d, at)), d, at);
            }
        },
        [&](std::int64_t i, auto mask) {
            const Vector of_v = hn::MaskedLoad(mask, d, v + i);
            for (int m = 0; m < M; ++m) {
                real* at = x + m * stride + i;
                hn::BlendedStore(hn::NegMulAdd(twice[m], of_v, hn::MaskedLoad(mask, d, at)), mask,
                                 d, at);
            }
        });
}

void reflect_rows(const real* v, real* x, std::int64_t rows, std::int64_t stride, std::int64_t n) {
    std::int64_t k = 0;
    for (; k + 4 <= rows; k += 4) reflect<4>(v, x + k * stride, stride, n);
    for (; k < rows; ++k) reflect<1>(v, x + k * stride, stride, n);
}

}  // namespace

/// The rows become Householder vectors v_j, zero before entry j, and then the first rows of
/// H_0 H_1 … H_{R−1}.
void householder(std::int64_t rank, std::int64_t length, real* rows, real* reflectors) {
    for (std::int64_t j = 0; j < rank; ++j) {  // squares of small numbers must not vanish
        real* row = rows + j * length;
        real largest = 0;
        for (std::int64_t i = 0; i < length; ++i) largest = std::max(largest, std::abs(row[i]));
        for (std::int64_t i = 0; largest > 0 && i < length; ++i) row[i] /= largest;
    }
    for (std::int64_t j = 0; j < rank; ++j) {
        const std::int64_t n = length - j;
        real *v = reflectors + j * length + j, *x = rows + j * length + j;
        const real norm = std::sqrt(dot(x, x, n));
        std::copy_n(x, n, v);
        v[0] += x[0] < 0 ? -norm : norm;  // away from x, so that nothing cancels
        const real size = std::sqrt(dot(v, v, n));
        if (size > 0) scale(v, n, 1 / size);
        reflect_rows(v, rows + (j + 1) * length + j, rank - j - 1, length, n);
    }
    std::fill_n(rows, rank * length, real(0));
    for (std::int64_t j = 0; j < rank; ++j) rows[j * length + j] = 1;
    for (std::int64_t j = rank - 1; j >= 0; --j)
        reflect_rows(reflectors + j * length + j, rows + j * length + j, rank - j, length,
                     length - j);
}

}  // namespace HWY_NAMESPACE
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

HWY_EXPORT(householder);

void orthonormalise(std::int64_t rank, std::int64_t length, real* rows) {
    std::vector<real> reflectors(static_cast<std::size_t>(rank * length), 0);
    HWY_DYNAMIC_DISPATCH(householder)(rank, length, rows, reflectors.data());
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
#endif  // HWY_ONCE
