#pragma once

#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// Elementary functions over whole arrays. They stand in one file that is compiled with relaxed
// floating-point rules, so that the compiler may use the vector versions of the C library (glibc's
// libmvec, within 4 units in the last place). NaN and infinity pass through; none is tested for.

/// GELU: y = x Φ(x), by erf or by the tanh approximation. For each element the erf form counts 5
/// FLOPs and its backward 11, as the formulas have them, whatever evaluates erf and exp.
void gelu_erf(std::int64_t n, const real* x, real* y);
void gelu_tanh(std::int64_t n, const real* x, real* y);
/// gx = gy (Φ(x) + x φ(x)), and its counterpart for the tanh form.
void gelu_erf_backward(std::int64_t n, const real* x, const real* gy, real* gx);
void gelu_tanh_backward(std::int64_t n, const real* x, const real* gy, real* gx);

/// The erf form written out with the library's erf and exp: what the faster kernels must match.
void gelu_erf_plain(std::int64_t n, const real* x, real* y);
void gelu_erf_backward_plain(std::int64_t n, const real* x, const real* gy, real* gx);

/// SiLU: y = x s with s = 1 / (1 + e^-x); gx = gy s (1 + x (1 - s)).
void silu(std::int64_t n, const real* x, real* y);
void silu_backward(std::int64_t n, const real* x, const real* gy, real* gx);

void exp(std::int64_t n, const real* x, real* y);
void log(std::int64_t n, const real* x, real* y);
void tanh(std::int64_t n, const real* x, real* y);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
