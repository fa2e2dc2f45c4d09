#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "data/batch.h"
#include "train/config.h"

namespace slimgrad {

struct TrainerOptions {
    bool overwrite = false;  // remove the run that the directory holds
    bool quiet = false;      // no progress on standard error
    /// Asked before every step: true stops the run there, with a checkpoint.
    std::function<bool(std::int64_t step)> stop;
};

/// The one training loop of the project. A run is a function of its configuration: all methods see
/// the same initial weights, batches, augmentation and dropout masks under one seed, and a run that
/// was stopped and resumed ends in the same bits as one that ran through.
///
/// Step s: calibrate if the method needs it and s is a multiple of calibrate_every (0: only before
/// the first step); forward;
/// backward; clip; update. The model is evaluated at the end of each epoch and of the run.
class Trainer {
  public:
    /// A new run in the directory `config.out`. Throws Error, before any work, for a configuration
    /// or directory that will not do.
    Trainer(TrainConfig config, TrainerOptions options);
    /// Continues a run from its last checkpoint, under its own configuration.
    Trainer(const std::filesystem::path& run, TrainerOptions options);
    ~Trainer();

    /// Trains to the end, or until `stop`; false in that case. Throws Error that names the step if
    /// a batch or the loss is not finite; what was written stays.
    bool run();

    const std::filesystem::path& directory() const;
    /// What summary.json holds, once run() has returned true.
    const nlohmann::json& summary() const;

  private:
    class Loop;
    std::unique_ptr<Loop> loop_;
};

/// Throws Error that names the step and the sample if a batch of images holds NaN or infinity.
void require_finite(const Batch& batch, std::int64_t step, const std::string& data);

}  // namespace slimgrad
