#pragma once

#include <cstdint>
#include <vector>

#include "instant/methods/sketch.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What R directions of each sample's own lose of g_y, as shares of Σ ‖g_b‖².
struct RangeFinderLoss {
    std::int64_t rank = 0;
    double optimum = 0;   // the leading singular vectors: Σ_b Σ_{j>R} σ_j²
    double sketched = 0;  // a sketch without power step, mean over draws
    double powered = 0;   // with one
    /// What theory lets a sketch without power step lose on average (Halko, Martinsson and Tropp
    /// 2011, theorem 10.5): Σ_b min_k (1 + k / (R − k − 1)) Σ_{j>k} σ_j², 2 ≤ k ≤ R − 2; all, for
    /// R < 4.
    double bound = 1;
};

/// Sketches of the gradients of one layer, beside the best that any could do.
class RangeFinderStudy {
  public:
    RangeFinderStudy(Side side, std::vector<std::int64_t> ranks, std::int64_t draws);

    /// g: (B, L, Cy); Ω is drawn from (seed, `step`, draw).
    void add(const Tensor& g, std::uint64_t seed, std::uint64_t step);
    /// One for each rank. Ranks beyond the axis are cut to it.
    std::vector<RangeFinderLoss> losses() const;
    /// What the second direction and those after it hold: 0 of gradients of rank one.
    double beyond_the_first() const { return beyond_ / total_; }

  private:
    struct Sums {
        double optimum = 0, sketched = 0, powered = 0, bound = 0;
    };
    Side side_;
    std::vector<std::int64_t> ranks_;
    std::int64_t draws_;
    std::vector<Sums> sums_;
    double total_ = 0, beyond_ = 0;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
