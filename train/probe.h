#pragma once

#include <filesystem>
#include <memory>

#include "instant/calibration/calibrator.h"
#include "optim/optimizer.h"
#include "train/task.h"

namespace slimgrad {

/// A run that was trained, opened to look inside: its model and optimiser as the last checkpoint
/// (or model.safetensors) has them, its batches and masks. Nothing is ever written to its
/// directory.
class RunProbe {
  public:
    /// Throws Error if the directory holds no run, or none that has saved weights.
    explicit RunProbe(std::filesystem::path run, std::int64_t threads = 0);

    const TrainConfig& config() const { return config_; }
    Module& model() { return *model_; }
    /// The next step: where training would go on.
    std::int64_t step() const { return step_; }
    std::int64_t batch_size() const { return config_.batch; }

    /// The linear maps of its model.
    std::vector<LinearShape> shapes() { return linear_shapes(*model_, train_.batch(step_)); }
    /// Forward and backward of one training batch, with the masks of that step and under the rules
    /// that the model has now. No running statistic moves; gradients are left in the parameters.
    void pass(std::int64_t step);
    /// One step of training at a learning rate.
    void train(std::int64_t step, double lr);
    /// Weights, optimiser and running statistics as they were when the probe was made; rules exact.
    void rewind();

  private:
    double forward_backward(std::int64_t step, bool update_statistics);

    std::filesystem::path path_;
    TrainConfig config_;
    std::unique_ptr<Task> task_;
    Split train_;
    std::unique_ptr<Module> model_;
    std::unique_ptr<Optimizer> optimizer_;
    std::int64_t step_ = 0;
};

}  // namespace slimgrad
