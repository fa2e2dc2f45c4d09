#include "instant/projector.h"

#include <algorithm>
#include <cmath>

#include "tensor/ops.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
namespace {

double power(double eigenvalue, int exponent) {
    return std::pow(std::max(eigenvalue, 0.0), exponent);
}

}  // namespace

double kept_share(const std::vector<double>& eigenvalues, std::int64_t rank, int exponent) {
    double kept = 0, total = 0;
    for (std::size_t i = 0; i < eigenvalues.size(); ++i) {
        total += power(eigenvalues[i], exponent);
        if (i < static_cast<std::size_t>(rank)) kept += power(eigenvalues[i], exponent);
    }
    return total > 0 ? kept / total : 1;
}

std::int64_t truncated_rank(const std::vector<double>& eigenvalues, const Truncation& truncation) {
    const auto n = static_cast<std::int64_t>(eigenvalues.size());
    if (truncation.rank) return std::min(*truncation.rank, n);
    if (truncation.epsilon >= 1) return n;
    double total = 0;
    for (const double value : eigenvalues) total += power(value, 2);
    double kept = 0;
    std::int64_t k = 0;
    while (k < n && (k == 0 || kept < truncation.epsilon * total))
        kept += power(eigenvalues[static_cast<std::size_t>(k++)], 2);
    return std::min(k + truncation.oversample, n);
}

Projector make_projector(const Eigen& spectrum, Side side, const Truncation& truncation) {
    const std::int64_t rank = truncated_rank(spectrum.values, truncation);
    Projector projector{side, spectrum.vectors.rows(0, rank).clone(),
                        kept_share(spectrum.values, rank, 2), kept_share(spectrum.values, rank, 1)};
    if (truncation.offset != Offset::none) {
        const double kept =
            truncation.offset == Offset::energy ? projector.energy : projector.signal;
        scale_in_place(projector.basis, static_cast<real>(1 / std::sqrt(kept)));
    }
    projector.basis.mark(Category::projectors);
    return projector;
}

Tensor project(const Projector& projector, const Tensor& x) {
    const bool token = projector.side == Side::token;
    require(x.size(token ? 1 : 2) == projector.dim(), "[{}] calibrated for {} {}, got {}. Hint: {}",
            current_layer(), projector.dim(), token ? "tokens" : "channels", to_string(x.shape()),
            token ? "pad sequences to one length, or use the channel side" : "calibrate again");
    return token ? matmul(projector.basis, x)                            // (R,L)·(L,C) a sample
                 : matmul(x, projector.basis, Op::none, Op::transpose);  // (B·L,C)·(C,R)
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
