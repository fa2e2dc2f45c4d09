#include "instant/methods/complement.h"

#include <algorithm>
#include <cmath>

#include "instant/methods/sketch.h"
#include "tensor/kernels/orthonormal.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

ComplementShape::ComplementShape(std::int64_t asked, std::int64_t rank, std::int64_t dim)
    : count(std::clamp<std::int64_t>(asked, 0, dim - rank)),
      unbiased(count > 0 ? static_cast<double>(dim - rank) / static_cast<double>(count) : 1) {}

Tensor with_complement(const Tensor& basis, std::int64_t count, double c, Stream& stream) {
    const std::int64_t rank = basis.size(0), dim = basis.size(1);
    Tensor all({rank + count, dim});
    all.rows(0, rank).copy_from(basis);
    all.rows(rank, count).copy_from(normal({count, dim}, 0, 1, stream));
    // Of [U; random rows] the last ones, made orthonormal, are random directions beside U.
    orthonormalise(rank + count, dim, all.data());
    all.rows(0, rank).copy_from(basis);
    const auto root = static_cast<real>(std::sqrt(c));
    std::for_each_n(all.data() + rank * dim, count * dim, [root](real& value) { value *= root; });
    meter().add(complement_flops(rank, count, dim));
    return all;
}

std::int64_t complement_flops(std::int64_t rank, std::int64_t count, std::int64_t dim) {
    return count > 0 ? orthonormalise_flops(rank + count, dim) + count * dim : 0;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
