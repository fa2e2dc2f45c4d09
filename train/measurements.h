#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "data/batch.h"
#include "instant/calibration/calibrator.h"
#include "tensor/meter.h"
#include "train/load_report.h"

namespace slimgrad {

/// What predictions are worth, by the name of the metric (data/metrics.h): always "accuracy".
using Scores = std::map<std::string, double>;
/// "accuracy 84.31 %  f1 88.97 %", in the order of `metrics`.
std::string to_string(const Scores& scores, const std::vector<std::string>& metrics);

/// Scores and mean loss over a data set.
struct Evaluation {
    Scores scores;
    double loss = 0;
    std::int64_t samples = 0;
};

/// What a run measures of itself, from its first step to its last; a checkpoint carries it, so that
/// an interrupted run reports the same totals as one that ran through (times apart).
struct Measurements {
    std::map<Meter::Key, std::int64_t> flops;   // by layer and phase
    std::map<std::string, double> seconds;      // by phase
    std::map<std::string, std::int64_t> saved;  // bytes held at the end of forward, summed over
    std::int64_t samples = 0;                   // ... this many samples, by layer
    std::int64_t tokens = 0, padding = 0;       // of texts: all that were trained on; of these
    std::map<std::string, std::int64_t> peaks;  // bytes, by category of the ledger, `total`, `rss`

    /// The ranks of one slot over the calibrations that compressed it; `left`: how many left it
    /// exact.
    struct SlotRanks {
        std::int64_t sum = 0, least = 0, most = 0, count = 0, left = 0;
        void take(const CalibratedSlot& found);
    };
    struct Ranks {
        SlotRanks x, g;
    };
    std::map<std::string, Ranks> ranks;  // by layer
    std::int64_t calibrations = 0;
    std::int64_t calibrated = -1;  // the step before which the last one was made
    /// Of layers that make sketches: all, and what metrics.jsonl does not have yet.
    std::map<std::string, SketchRecord> sketches, new_sketches;

    std::map<std::string, int> bits;  // of kept values, where they follow from sensitivities
    std::int64_t bit_choices = 0;     // how often they were chosen

    double epoch_loss = 0;  // summed over the steps of this epoch so far
    std::int64_t epoch_steps = 0;
    std::vector<Evaluation> evaluations;  // at the end of each epoch
    std::vector<double> train_losses;     // means over each epoch

    std::set<std::string> passed_over;  // what was said of data that could not be read

    LoadReport loaded;  // of the weights that the run began from, if it did

    /// Moves what the meter of this thread has counted here.
    void take_flops();
    /// What the ledger says at the end of a forward pass over `batch` samples.
    void take_saved(std::int64_t batch);
    void take_tokens(const Tokens& tokens);
    /// Peaks of the ledger and of the process since the last reset.
    void take_peaks();
    void take_ranks(const std::vector<LayerRanks>& layers);
};

/// "2 were left out, the first: why" of Measurements::passed_over; empty if it is.
std::string passed_over_note(const std::set<std::string>& passed_over);

void to_json(nlohmann::json& json, const Measurements& m);
void from_json(const nlohmann::json& json, Measurements& m);

/// Adds the time between its making and its end to one phase.
class Timer {
  public:
    Timer(Measurements& measurements, const char* phase)
        : seconds_(measurements.seconds[phase]), start_(std::chrono::steady_clock::now()) {}
    ~Timer() {
        seconds_ +=
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

  private:
    double& seconds_;
    std::chrono::steady_clock::time_point start_;
};

}  // namespace slimgrad
