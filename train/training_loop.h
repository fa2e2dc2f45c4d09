#pragma once

#include <nlohmann/json.hpp>

#include "instant/cost/trace.h"
#include "train/checkpoint.h"
#include "train/progress.h"
#include "train/run_directory.h"
#include "train/task.h"
#include "train/trainer.h"
#include "train/training_steps.h"

namespace slimgrad {

/// Throws Error unless the data, the model and the method of a run go together, as its loop would
/// before the first step. Reads the data.
void require_possible(const TrainConfig& config);

/// The loop of one run, from its directory and its data to the end or until it is stopped.
class TrainingLoop {
  public:
    TrainingLoop(RunDirectory run, TrainConfig config, std::unique_ptr<Task> task,
                 TrainerOptions options);

    /// A new run takes its directory, once the weights that it begins from are read.
    void begin();
    /// Goes on from the checkpoint, or from the beginning if there is none yet.
    void resume();
    /// See Trainer::run().
    bool run();

    const nlohmann::json& summary() const { return summary_; }

  private:
    void load();
    RunState state();
    bool epoch_due() const;

    void introduce(Progress& progress) const;
    void look_for_stop(std::int64_t step) const;
    template <class Work>
    void whole_or_not_at_all(const Work& work);
    void train(Progress& progress);
    template <class Work>
    void calibrate(Progress& progress, const Work& work);
    void choose_bits(Progress& progress);
    void prepare(Progress& progress);
    double train_step(const Batch& batch);
    void take_sketches();
    void log(const Batch& batch, double loss);
    void end_epoch(Progress& progress);
    void take_passed_over();
    void save();
    void finish();

    TrainConfig config_;
    TrainerOptions options_;
    RunDirectory run_;
    std::unique_ptr<Task> task_;
    TrainingSteps steps_;
    Split test_;
    std::vector<LinearShape> shapes_;
    Measurements m_;
    std::int64_t step_ = 0;
    double grad_norm_ = 0;
    std::vector<std::string> notes_, warnings_;  // on how the run begins
    nlohmann::json summary_;
};

}  // namespace slimgrad
