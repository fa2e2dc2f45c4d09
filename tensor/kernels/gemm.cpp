#include "tensor/kernels/gemm.h"

#include <cblas.h>
#ifdef SLIMGRAD_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

#include <algorithm>

#include "tensor/blas.h"
#include "tensor/error.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/signals.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

#ifdef SLIMGRAD_ONEDNN
char flag(Op op) { return op == Op::none ? 'N' : 'T'; }
#else
CBLAS_TRANSPOSE flag(Op op) { return op == Op::none ? CblasNoTrans : CblasTrans; }
#endif

void multiply(std::int64_t m, std::int64_t n, std::int64_t k, Matrix a, Matrix b, real* c,
              std::int64_t stride_c, real alpha, real beta) {
    if (m == 0 || n == 0) return;
    if (k == 0) {  // an empty sum; BLAS rejects the leading dimensions that go with it
        for (std::int64_t row = 0; row < m; ++row)
            std::transform(c + row * stride_c, c + row * stride_c + n, c + row * stride_c,
                           [beta](real value) { return beta == 0 ? 0 : beta * value; });
        return;
    }
#ifdef SLIMGRAD_ONEDNN
    const SignalsHeld held;
    const auto status = dnnl_sgemm(flag(a.op), flag(b.op), m, n, k, alpha, a.data, a.stride, b.data,
                                   b.stride, beta, c, stride_c);
    require(status == dnnl_success, "[gemm] oneDNN's sgemm failed with status {}",
            static_cast<int>(status));
#else
    const auto i = blas_length<blasint>;
    const BlasCall call;
#ifdef SLIMGRAD_DOUBLE
    cblas_dgemm
#else
    cblas_sgemm
#endif
        (CblasRowMajor, flag(a.op), flag(b.op), i(m), i(n), i(k), alpha, a.data, i(a.stride),
         b.data, i(b.stride), beta, c, i(stride_c));
#endif
}

}  // namespace

void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Matrix a, Matrix b, real* c,
          std::int64_t stride_c, real alpha, real beta) {
    blas();
    meter().add(2 * m * n * k);
    multiply(m, n, k, a, b, c, stride_c, alpha, beta);
}

void gemm_uncounted(std::int64_t m, std::int64_t n, std::int64_t k, Matrix a, Matrix b, real* c,
                    std::int64_t stride_c, real alpha, real beta) {
    blas();
    multiply(m, n, k, a, b, c, stride_c, alpha, beta);
}

std::string gemm_library() {
#ifdef SLIMGRAD_ONEDNN
    const dnnl_version_t& version = *dnnl_version();
    const auto isa = static_cast<unsigned>(dnnl_get_effective_cpu_isa());
    const auto includes = [isa](unsigned set) { return (isa & set) == set; };
    const char* instructions = includes(dnnl_cpu_isa_avx512_core) ? "AVX-512"
                               : includes(dnnl_cpu_isa_avx2)      ? "AVX2"
                               : includes(dnnl_cpu_isa_avx)       ? "AVX"
                                                                  : "plain";
    return fmt::format("oneDNN {}.{}.{}, {}", version.major, version.minor, version.patch,
                       instructions);
#else
    return "OpenBLAS, " + blas().kernels;
#endif
}

void syrk_uncounted(std::int64_t n, std::int64_t k, Matrix a, real* c, std::int64_t stride_c,
                    real alpha, real beta) {
    blas();
    if (n == 0) return;
    const auto i = blas_length<blasint>;
    // BLAS rejects the stride of an empty sum, as of a product.
    const std::int64_t stride = std::max<std::int64_t>(a.stride, 1);
    const BlasCall call;
#ifdef SLIMGRAD_DOUBLE
    cblas_dsyrk
#else
    cblas_ssyrk
#endif
        (CblasRowMajor, CblasLower, a.op == Op::none ? CblasNoTrans : CblasTrans, i(n), i(k), alpha,
         a.data, i(stride), beta, c, i(stride_c));
}

void gemm_batched(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k,
                  BatchedMatrix a, BatchedMatrix b, real* c, std::int64_t stride_c,
                  std::int64_t step_c, real alpha, real beta) {
    blas();
    meter().add(2 * batch * m * n * k);
    const auto sample = [](BatchedMatrix factor, std::int64_t i) {
        return Matrix{factor.matrix.data + i * factor.step, factor.matrix.stride, factor.matrix.op};
    };
    if (batch == 1) return multiply(m, n, k, sample(a, 0), sample(b, 0), c, stride_c, alpha, beta);
#pragma omp parallel for schedule(static) if (batch * m * n * k > parallel_threshold)
    for (std::int64_t i = 0; i < batch; ++i)
        multiply(m, n, k, sample(a, i), sample(b, i), c + i * step_c, stride_c, alpha, beta);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
