#pragma once

#include "tensor/random.h"
#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// How many random directions fit beside `rank` others in an axis, and the factor c that they need
/// to stand for all that those leave out: (dim - rank) / their number.
struct ComplementShape {
    ComplementShape(std::int64_t asked, std::int64_t rank, std::int64_t dim);
    std::int64_t count;
    double unbiased;
};

/// Orthonormal rows U (R, n), and below them `count` random ones V, orthonormal, orthogonal to U
/// and equally likely to point anywhere there, times √c. So E[UᵀU + c VᵀV] = UᵀU + (c / unbiased)
/// (I - UᵀU): with c = unbiased, twice the projection of something is right on average, and its
/// error least among those that are (PRAC, arXiv 2602.23111). Of what U drops, of energy T, a
/// smaller c leaves bias² (1 - c r/m)² T and variance c² (r/m) (1 - r/m) T, r = count, m = n - R.
/// Counts complement_flops under the open phase.
Tensor with_complement(const Tensor& basis, std::int64_t count, double c, Stream& stream);
std::int64_t complement_flops(std::int64_t rank, std::int64_t count, std::int64_t dim);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
