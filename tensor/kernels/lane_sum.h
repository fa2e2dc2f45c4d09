#pragma once

#include <cstdint>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A sum over one or several runs, for example the planes of a channel. Added up in one chain, each
/// addition would wait for the one before; 32 chains side by side keep vector units busy, and the
/// order of additions still depends on nothing but the lengths. Within a run the chains are added
/// in `real`, from run to run in double.
class LaneSum {
  public:
    /// Adds f(i) for begin <= i < end.
    template <class F>
    void add(std::int64_t begin, std::int64_t end, F f) {
        const std::int64_t whole = end - (end - begin) % lanes;
        real part[lanes] = {};
        for (std::int64_t i = begin; i < whole; i += lanes)
            for (std::int64_t lane = 0; lane < lanes; ++lane) part[lane] += f(i + lane);
        for (std::int64_t i = whole; i < end; ++i) part[i - whole] += f(i);
        for (std::int64_t lane = 0; lane < lanes; ++lane)
            totals_[lane] += static_cast<double>(part[lane]);
    }
    double total() const {
        double sum[lanes];
        for (std::int64_t lane = 0; lane < lanes; ++lane) sum[lane] = totals_[lane];
        for (std::int64_t half = lanes / 2; half > 0; half /= 2)
            for (std::int64_t lane = 0; lane < half; ++lane) sum[lane] += sum[lane + half];
        return sum[0];
    }

  private:
    static constexpr std::int64_t lanes = 32;
    double totals_[lanes] = {};
};

/// Σ a_i b_i, every product in double: squares of small numbers must not vanish. Several chains
/// side by side here too.
inline double dot_in_double(const real* a, const real* b, std::int64_t count) {
    constexpr std::int64_t lanes = 16;
    double sums[lanes] = {};
    const std::int64_t whole = count - count % lanes;
    for (std::int64_t i = 0; i < whole; i += lanes)
        for (std::int64_t lane = 0; lane < lanes; ++lane)
            sums[lane] += static_cast<double>(a[i + lane]) * b[i + lane];
    for (std::int64_t i = whole; i < count; ++i) sums[0] += static_cast<double>(a[i]) * b[i];
    double total = 0;
    for (const double sum : sums) total += sum;
    return total;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
