#pragma once

#include <nlohmann/json.hpp>

#include "instant/calibration/calibrator.h"
#include "instant/codec/gact.h"
#include "instant/cost/trace.h"
#include "optim/schedule.h"
#include "train/checkpoint.h"
#include "train/progress.h"
#include "train/run_directory.h"
#include "train/task.h"
#include "train/trainer.h"

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
    TapeOptions tape_options(std::int64_t step) const;
    Var loss_of(Tape& tape, const Batch& batch);
    bool calibration_due() const;
    bool epoch_due() const;

    void introduce(Progress& progress) const;
    void look_for_stop(std::int64_t step) const;
    template <class Work>
    void whole_or_not_at_all(const Work& work);
    void train(Progress& progress);
    template <class Work>
    void calibrate(Progress& progress, const Work& work);
    void calibration_batches();
    void watch(Progress& progress);
    bool bits_due() const;
    void choose_bits(Progress& progress);
    double train_step(const Batch& batch);
    void take_sketches();
    void log(const Batch& batch, double loss);
    void end_epoch(Progress& progress);
    void save();
    void finish();

    TrainConfig config_;
    TrainerOptions options_;
    RunDirectory run_;
    std::unique_ptr<Task> task_;
    Split train_, test_;
    std::unique_ptr<Module> model_;
    Calibrator calibrator_;
    std::unique_ptr<Optimizer> optimizer_;
    std::int64_t total_;
    Schedule schedule_;
    std::vector<LinearShape> shapes_;
    TapeOptions tape_;                  // as the method sets it
    std::shared_ptr<GactCodec> codec_;  // of it, if bits follow from sensitivities
    Measurements m_;
    std::int64_t step_ = 0;
    double grad_norm_ = 0;
    std::vector<std::string> notes_, warnings_;  // on how the run begins
    nlohmann::json summary_;
};

}  // namespace slimgrad
