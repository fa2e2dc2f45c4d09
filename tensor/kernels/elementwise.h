#pragma once

#include <cstdint>

#include "tensor/meter.h"
#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Below this many elements a loop is not worth a second thread.
inline constexpr std::int64_t parallel_threshold = 16384;

/// y_i = f(x_i) for every element, `flops` FLOPs each.
template <class F>
Tensor map(const Tensor& x, std::int64_t flops, F f) {
    x.require_defined("elementwise");
    Tensor y(x.shape());
    const std::int64_t n = x.numel();
    const real* in = x.data();
    real* out = y.data();
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t i = 0; i < n; ++i) out[i] = f(in[i]);
    meter().add(flops * n);
    return y;
}

/// z_i = f(x_i, y_i) for two tensors of one shape, `flops` FLOPs each.
template <class F>
Tensor map(const Tensor& x, const Tensor& y, std::int64_t flops, F f) {
    x.require_defined("elementwise");
    y.require_defined("elementwise");
    require(x.shape() == y.shape(), "[elementwise] expected two equal shapes, got {} and {}",
            shown(x.shape()), shown(y.shape()));
    Tensor z(x.shape());
    const std::int64_t n = x.numel();
    const real* a = x.data();
    const real* b = y.data();
    real* out = z.data();
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t i = 0; i < n; ++i) out[i] = f(a[i], b[i]);
    meter().add(flops * n);
    return z;
}

/// x += alpha y, in place; two FLOPs an element (one if alpha is 1).
void add_in_place(Tensor& x, const Tensor& y, real alpha = 1);
/// x *= alpha, in place.
void scale_in_place(Tensor& x, real alpha);
/// Adds `row` (n,) to every row of x (..., n), in place.
void add_row_in_place(Tensor& x, const Tensor& row);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
