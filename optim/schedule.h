#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// How the learning rate moves over a run.
struct ScheduleOptions {
    std::string name = "cosine";
    std::int64_t total_steps = 0;  // of the run; cosine and linear end there
    std::int64_t warmup = 0;       // steps of linear warm-up
    std::int64_t step_size = 0;    // step: every so many steps ... (0: a third of the run)
    double gamma = 0.1;            // step: ... the rate is multiplied by this
    double min_lr_rate = 0;        // cosine and linear: the factor at the end
};

/// The schedules that Schedule knows: "constant", "step", "cosine", "linear".
std::vector<std::string> schedule_names();

/// The factor by which the base learning rate is multiplied: a pure function of the step, so that a
/// resumed run needs no state of it.
///
/// Warm-up: (s + 1) / warmup. After it, with t = s - warmup and T = total_steps - warmup:
/// constant 1; step gamma^⌊t / step_size⌋; cosine m + (1 - m) (1 + cos(π t / T)) / 2;
/// linear m + (1 - m) (1 - t / T), with m = min_lr_rate.
class Schedule {
  public:
    /// Throws Error for an unknown name or an option out of range.
    explicit Schedule(ScheduleOptions options);
    /// The factor at step s = 0, 1, ... Throws Error for a negative one.
    double factor(std::int64_t step) const;

  private:
    ScheduleOptions options_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
