#pragma once

#include <filesystem>

#include "instant/calibration/calibrator.h"
#include "optim/optimizer.h"
#include "train/config.h"
#include "train/measurements.h"
#include "train/task.h"

namespace slimgrad {

/// All that changes while a run goes on. Order of data, dropout masks and learning rate are
/// functions of the step and need no state.
struct RunState {
    const TrainConfig& config;
    const DataDigests& data;
    Module& model;
    Optimizer& optimizer;
    Calibrator& calibrator;
    Measurements& measurements;
    std::int64_t step = 0;           // the next one to execute
    std::int64_t metrics_bytes = 0;  // length of metrics.jsonl then
};

/// Writes one safetensors file, as a whole or not at all: `model.*`, `optimizer.*`, `projector.*`,
/// and in its metadata counters, the options of the run (same_run.h) and digests of its data.
void save_checkpoint(const std::filesystem::path& file, RunState& state);

/// Reads it back. Throws Error, one line that names the file, if it is corrupt or no checkpoint,
/// and one that names what was changed if options or data are not those that the run was begun
/// with.
void load_checkpoint(const std::filesystem::path& file, RunState& state);

}  // namespace slimgrad
