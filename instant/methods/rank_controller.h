#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Chooses the rank of a layer's sketches, step by step, so that they lose no more than a share of
/// the gradients' energy. The rank of a step is a function of what was seen in the steps before:
/// runs repeat, and go on, to the same bits.
///
///   kept < 1 − tolerance     grows by a quarter
///   else                     shrinks to as many of its directions as keep 1 − tolerance, if that
///                            is an eighth fewer (or one, below eight)
///
/// Directions are counted by their own energies, largest first; a fresh sketch of so many holds at
/// least about as much. A layer may be looked at with fewer directions than its rank: that can make
/// it smaller and not larger.
class RankController {
  public:
    /// Ranks are from 1 to `most`; the first is `first`, or that.
    RankController(double tolerance, std::int64_t first, std::int64_t most);

    /// The rank of a step; what calls of the same step saw does not change it.
    std::int64_t rank(std::uint64_t step);
    /// What a call of this step saw: the energy that each direction keeps, and that of g.
    void observe(std::uint64_t step, const std::vector<double>& energies, double total);

    /// The rank of the next step, for a checkpoint between two.
    std::int64_t next_rank();
    void set_rank(std::int64_t rank);

  private:
    void conclude();

    std::mutex mutex_;  // calls of one layer may run side by side
    double tolerance_;
    std::int64_t most_, rank_;
    std::uint64_t step_ = 0;
    std::vector<double> energies_;
    double total_ = 0;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
