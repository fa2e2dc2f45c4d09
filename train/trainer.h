#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "data/batch.h"
#include "train/config.h"

namespace slimgrad {

class TrainingLoop;

struct TrainerOptions {
    bool overwrite = false;  // replace the run that the directory holds
    bool quiet = false;      // no progress on standard error
    /// Asked before every step, and again before each mini-batch of its calibration and each batch
    /// of an evaluation after it: true stops the run there, with a checkpoint.
    std::function<bool(std::int64_t step)> stop;
};

/// The one training loop of the project. A run is a function of its configuration: all methods see
/// the same initial weights, batches, augmentation and dropout masks under one seed, and a run that
/// was stopped and resumed ends in the same bits as one that ran through.
///
/// Step s: calibrate if the method needs it and s is a multiple of calibrate_every (0: only before
/// the first step), or watch the step for that (TrainingLoop::watch); forward; backward; clip;
/// update. The model is evaluated at the end of each epoch and of the run.
class Trainer {
  public:
    /// A new run in the directory `config.out`, which is absent, empty, or holds a run that
    /// `overwrite` allows to replace. That run stays until data, model and weights of the new one
    /// are read. Throws Error, before any work, for a configuration or directory that will not do.
    Trainer(TrainConfig config, TrainerOptions options);
    /// Continues a run from its last checkpoint, or its beginning if it has none, under its own
    /// configuration. A run that is complete stays as it is. Throws Error if options or data are
    /// not those that it was begun with.
    Trainer(const std::filesystem::path& run, TrainerOptions options);
    ~Trainer();

    /// Trains to the end, or until `stop`; false in that case. Throws Error that names the step if
    /// a batch or the loss is not finite; what was written stays.
    bool run();

    const std::filesystem::path& directory() const { return directory_; }
    /// Whether the run was complete when it was opened: then there is nothing to do.
    bool was_complete() const { return !loop_; }
    /// What summary.json holds, once run() has returned true.
    const nlohmann::json& summary() const;

  private:
    std::filesystem::path directory_;
    std::unique_ptr<TrainingLoop> loop_;             // none for a run that is complete
    std::unique_ptr<const nlohmann::json> summary_;  // of a run that is complete
};

/// Throws Error that names the step and the sample if a batch of images holds NaN or infinity.
void require_finite(const Batch& batch, std::int64_t step, const std::string& data);

}  // namespace slimgrad
