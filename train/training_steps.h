#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "instant/calibration/calibrator.h"
#include "instant/codec/automatic_bits.h"
#include "optim/schedule.h"
#include "train/task.h"

namespace slimgrad {

/// What the steps of a run do to its model, and what comes before each: calibrations, choices of
/// bits, what is watched. All of it is a function of the step. Directories, progress and
/// measurements are someone else's (training_loop.h, traced_run.h).
class TrainingSteps {
  public:
    /// Called before each pass that trains nothing; it may throw to break them off.
    using Between = std::function<void()>;

    /// Throws Error, one line, for a method and steps that do not go together.
    TrainingSteps(const TrainConfig& config, const Task& task);

    Module& model() { return *model_; }
    Calibrator& calibrator() { return calibrator_; }
    const Calibrator& calibrator() const { return calibrator_; }
    Optimizer& optimizer() { return *optimizer_; }
    const Split& data() const { return train_; }
    std::int64_t total() const { return total_; }

    TapeOptions tape_options(std::int64_t step) const;
    Var loss_of(Tape& tape, const Batch& batch);

    /// Before a step, in this order: a calibration on batches read ahead, as in the paper, ...
    bool calibrates(std::int64_t step) const;
    void calibrate(std::int64_t step, const Between& between);
    /// ... a choice of bits, for which the step is rehearsed: the sensitivities; ...
    bool chooses_bits(std::int64_t step) const;
    std::vector<Sensitivity> choose_bits(std::int64_t step, const Between& between);
    /// ... and where training steps are watched instead, new subspaces of what was seen, and
    /// what is watched of the step.
    bool renews(std::int64_t step) const;
    void renew();
    void watch(std::int64_t step);

    const std::map<std::string, int>& bits() const;
    void set_bits(std::map<std::string, int> bits);

    /// After backward: clips, lets the optimiser step, forgets the gradients. Returns their norm
    /// before it was clipped, 0 if it is not asked for. Throws Error if that is not finite.
    double update(std::int64_t step);

  private:
    void rehearse(const Batch& batch, TapeOptions options, double share);
    std::int64_t since_exact(std::int64_t step) const;

    const TrainConfig config_;
    Split train_;
    std::unique_ptr<Module> model_;
    Calibrator calibrator_;
    std::unique_ptr<Optimizer> optimizer_;
    std::int64_t total_;
    Schedule schedule_;
    TapeOptions tape_;                  // as the method sets it
    std::shared_ptr<GactCodec> codec_;  // of it, if bits follow from sensitivities
};

}  // namespace slimgrad
