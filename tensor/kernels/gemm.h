#pragma once

#include <cstdint>
#include <string>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Whether a factor of a product is taken as it lies in memory or transposed.
enum class Op { none, transpose };

/// A matrix in row-major order: where it begins and how far apart its rows are.
struct Matrix {
    const real* data;
    std::int64_t stride;
    Op op = Op::none;
};

/// C = alpha op(A) op(B) + beta C, with op(A): (m, k), op(B): (k, n) and C: (m, n) of row stride
/// `stride_c`. Counts 2 m n k FLOPs. Every product of the library passes here: it is the one seam
/// to replace for another BLAS. Inside an OpenMP region it runs on the calling thread.
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Matrix a, Matrix b, real* c,
          std::int64_t stride_c, real alpha = 1, real beta = 0);

/// The same product without counting it, for parallel regions: their caller counts, on its own
/// thread.
void gemm_uncounted(std::int64_t m, std::int64_t n, std::int64_t k, Matrix a, Matrix b, real* c,
                    std::int64_t stride_c, real alpha = 1, real beta = 0);

/// The library that computes these products and the instructions that it uses, for reports: "oneDNN
/// 2.6.3, AVX-512" or "OpenBLAS, SkylakeX".
std::string gemm_library();

/// The lower triangle of C = alpha op(A) op(A)ᵀ + beta C, with op(A): (n, k); what stands above the
/// diagonal is left alone. Not counted: n (n + 1) k FLOPs.
void syrk_uncounted(std::int64_t n, std::int64_t k, Matrix a, real* c, std::int64_t stride_c,
                    real alpha = 1, real beta = 0);

/// `batch` independent products; the matrices of consecutive samples lie `step` elements apart (0:
/// all samples share the matrix). Parallel over samples, each on one thread. Counts 2 m n k each.
struct BatchedMatrix {
    Matrix matrix;
    std::int64_t step;
};
void gemm_batched(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k,
                  BatchedMatrix a, BatchedMatrix b, real* c, std::int64_t stride_c,
                  std::int64_t step_c, real alpha = 1, real beta = 0);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
