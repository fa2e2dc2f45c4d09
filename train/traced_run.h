#pragma once

#include <memory>

#include "train/timeline.h"
#include "train/training_steps.h"

namespace slimgrad {

/// A run of a few steps in memory, as the training loop takes them: the same weights, batches,
/// masks, calibrations and updates, and no directory. Any of its steps can be watched.
class TracedRun {
  public:
    /// Throws Error, one line, for data, weights or methods that cannot be used.
    explicit TracedRun(const TrainConfig& config);

    /// Steps are taken in order, from 0 on. Returns the loss.
    double step(std::int64_t step, TimelineRecorder* recorder = nullptr);
    std::int64_t total() const { return steps_.total(); }
    Module& model() { return steps_.model(); }
    Batch batch(std::int64_t step) const { return steps_.data().batch(step); }

  private:
    TrainConfig config_;
    std::unique_ptr<Task> task_;
    TrainingSteps steps_;
};

}  // namespace slimgrad
