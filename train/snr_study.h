#pragma once

#include <functional>
#include <string>
#include <vector>

#include "instant/lab/gradient_study.h"
#include "instant/lab/snr_source.h"
#include "train/probe.h"

namespace slimgrad {

/// One layer (or source) whose gradients were calibrated and measured; every R and α can be asked.
/// `tokens` are those of the first batch, if others have another number.
struct SnrSubject {
    std::string name;
    std::uint64_t seed = 0;
    std::int64_t tokens = 0, in_channels = 0, out_channels = 0;
    std::int64_t calibration_samples = 0;  // 0: the population is known
    GradientModes modes;
    SnrMeasurement measurement;
};

/// The three ratios of a subject for one choice.
struct SnrRow {
    const SnrSubject* subject;
    SnrOptions options;
    SnrTheory theory;
    SnrMeasured measured;
};
SnrRow snr_row(const SnrSubject& subject, const SnrOptions& options);

/// A synthetic source against `samples` fresh draws from the stream `draw`.
SnrSubject snr_subject(const SnrSource& source, Side side, std::int64_t samples,
                       std::uint64_t draw);
/// An array of gradients (N, L, Cy) that is at once calibration and measurement.
SnrSubject snr_subject(const std::string& name, const Tensor& g, const Tensor& w, Side side);

struct RunStudyOptions {
    std::int64_t calibrate_batches = 5;
    std::int64_t batches = 10;  // fresh ones, to measure on
    std::optional<Side> side{};
    /// Called before each batch with a word on what is being done.
    std::function<void(const std::string&)> progress = [](const std::string&) {};
};

/// Calibrates on the next calibrate_batches batches of training, as training does.
void calibrate(RunProbe& run, Calibrator& calibrator, const RunStudyOptions& options);

/// Every layer that INSTANT would compress in g: those with a token axis that make g_x. C and
/// `exact` come from the next calibrate_batches batches of training, the measurement from the
/// batches after them, all with exact gradients.
std::vector<SnrSubject> snr_subjects(RunProbe& run, const RunStudyOptions& options);

/// Errors of g_x and g_w of each layer, alone and accumulated through depth, under a method that is
/// calibrated as in training.
struct ErrorStudy {
    std::vector<LayerError> local, accumulated;
};
ErrorStudy error_study(RunProbe& run, const MethodOptions& method, const RunStudyOptions& options);

/// One layer, `steps` steps of training after its calibration.
struct StalenessRow {
    std::int64_t steps = 0, oversample = 0;
    std::string layer;
    std::int64_t rank = 0;
    SnrMeasured stale;  // in the basis of step 0
    SnrMeasured fresh;  // in a basis of now, of the same rank rule and batches
};
/// Calibrates once, then trains on under `method` with the projectors of step 0 and the constant
/// learning rate `lr`, and measures after each number of steps in `at` (ascending) on the same
/// batches. The run is rewound at both ends.
std::vector<StalenessRow> staleness_study(RunProbe& run, MethodOptions method,
                                          const SnrOptions& options,
                                          const std::vector<std::int64_t>& at, double lr,
                                          const RunStudyOptions& study);

}  // namespace slimgrad
