#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

void add_in_place(Tensor& x, const Tensor& y, real alpha) {
    x.require_defined("add");
    y.require_defined("add");
    require(x.shape() == y.shape(), "[add] expected two equal shapes, got {} and {}",
            shown(x.shape()), shown(y.shape()));
    const std::int64_t n = x.numel();
    real* a = x.data();
    const real* b = y.data();
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t i = 0; i < n; ++i) a[i] += alpha * b[i];
    x.changed();
    meter().add((alpha == 1 ? 1 : 2) * n);
}

void scale_in_place(Tensor& x, real alpha) {
    x.require_defined("scale");
    const std::int64_t n = x.numel();
    real* a = x.data();
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t i = 0; i < n; ++i) a[i] *= alpha;
    x.changed();
    meter().add(n);
}

void add_row_in_place(Tensor& x, const Tensor& row) {
    row.require_defined("add_row");
    const std::int64_t n = row.numel();
    require(x.ndim() > 0 && x.size(-1) == n, "[add_row] expected last dimension {}, got shape {}",
            n, shown(x.shape()));
    const std::int64_t rows = n > 0 ? x.numel() / n : 0;
    const real* b = row.data();
    real* data = x.data();
#pragma omp parallel for schedule(static) if (x.numel() > parallel_threshold)
    for (std::int64_t r = 0; r < rows; ++r) {
        real* a = data + r * n;
        for (std::int64_t j = 0; j < n; ++j) a[j] += b[j];
    }
    x.changed();
    meter().add(rows * n);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
