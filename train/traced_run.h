#pragma once

#include <memory>

#include "instant/calibration/calibrator.h"
#include "instant/codec/gact.h"
#include "optim/schedule.h"
#include "train/task.h"
#include "train/timeline.h"

namespace slimgrad {

/// A run of a few steps in memory, as the training loop takes them: the same weights, batches,
/// masks, calibrations and updates, and no directory. Any of its steps can be watched.
class TracedRun {
  public:
    /// Throws Error, one line, for data, weights or methods that cannot be used.
    explicit TracedRun(const TrainConfig& config);

    /// Steps are taken in order, from 0 on. Returns the loss.
    double step(std::int64_t step, TimelineRecorder* recorder = nullptr);
    /// Whether a codec packs what layers keep.
    bool packs() const { return tape_.codec != nullptr; }
    Module& model() { return *model_; }
    Batch batch(std::int64_t step) const { return train_.batch(step); }

  private:
    TapeOptions tape_options(std::int64_t step) const;
    Var loss_of(Tape& tape, const Batch& batch) const;
    void rehearse(std::int64_t step, const Batch& batch, TapeOptions options, double share) const;
    void calibrate(std::int64_t step);
    void watch(std::int64_t step);
    void choose_bits(std::int64_t step);
    void update(std::int64_t step);

    TrainConfig config_;
    std::unique_ptr<Task> task_;
    Split train_;
    std::unique_ptr<Module> model_;
    Calibrator calibrator_;
    std::unique_ptr<Optimizer> optimizer_;
    Schedule schedule_;
    TapeOptions tape_;
    std::shared_ptr<GactCodec> codec_;  // if bits follow from sensitivities
};

}  // namespace slimgrad
