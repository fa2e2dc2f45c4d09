#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

struct SampleOrderOptions {
    std::int64_t batch_size = 128;
    bool shuffle = true;
    bool drop_last = true;  // leave out the samples that do not fill a batch, other ones each epoch
    std::uint64_t seed = 0;
};

/// Which samples each step of a training sees, as a pure function of the step: step s is batch
/// s mod steps_per_epoch of epoch s / steps_per_epoch, whose order is drawn from the stream (seed,
/// epoch). So a run can be resumed at any step, and reading ahead needs no state. Safe to use from
/// several threads; copies share what they remember.
class SampleOrder {
  public:
    /// For the `count` samples of the data set `name`. Throws Error if there are fewer than one
    /// batch that must be full.
    SampleOrder(std::int64_t count, const SampleOrderOptions& options, const std::string& name);

    std::int64_t steps_per_epoch() const;
    std::int64_t epoch(std::int64_t step) const { return step / steps_per_epoch(); }
    /// The samples of one step. Throws Error if it is negative.
    std::vector<std::int64_t> samples(std::int64_t step) const;

  private:
    using Order = std::vector<std::int64_t>;
    struct Cache;

    std::shared_ptr<const Order> order(std::int64_t epoch) const;

    std::int64_t count_;
    SampleOrderOptions options_;
    std::shared_ptr<Cache> cache_;  // the orders of the last two epochs that were asked for
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
