#pragma once

#include <cstdint>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Means, variances and covariance of paired observations (s_i, v_i), i = 1 … n.
struct PairedMeans {
    double s = 0, v = 0;
    double var_s = 0, var_v = 0, cov = 0;  // of one observation
    std::int64_t n = 0;
};

struct Interval {
    double low = 0, high = 0;
};

/// The interval of Fieller (1940) for the ratio of two non-negative means: all ρ for which the mean
/// of s − ρ v differs from 0 by no more than Student's t allows. It needs no linearisation of the
/// ratio, so it keeps its coverage for few samples and for v of wide spread, where the delta method
/// falls short (docs/snr.md has the figures). `high` is infinite if v may have mean 0.
Interval fieller(const PairedMeans& means, double confidence);

/// The t that a Student variable with `degrees` degrees of freedom stays below in absolute value
/// with probability `confidence`: the normal quantile and its expansion in 1/degrees (Abramowitz
/// and Stegun 26.7.5), good to 1 % from 8 degrees on.
double student_quantile(double confidence, std::int64_t degrees);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
