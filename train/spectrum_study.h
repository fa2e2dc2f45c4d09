#pragma once

#include "train/snr_study.h"

namespace slimgrad {

/// How many of a list of values hold ε of the sum of their squares.
struct DirectionCounts {
    std::int64_t all = 0;          // for all samples together
    double sample = 0;             // for each sample by itself: mean
    std::int64_t sample_max = 0;   // and maximum
    std::vector<double> energy{};  // share that the first 1, 2, … values of all samples hold
};

/// How many directions a share of a layer's output gradient lies in (INSTANT, Fig. 3).
struct SpectrumRow {
    std::string name;
    std::int64_t tokens = 0, out_channels = 0;
    Side side = Side::token;
    std::int64_t dim = 0;
    double epsilon = 0.95;
    /// Of C = E[g gᵀ]: the energy that INSTANT truncates by (eq. 2); `all` is the rank of
    /// INSTANT-0.
    DirectionCounts eigenvalues;
    /// Of g itself, the roots of those: their squares add up to E‖g‖².
    DirectionCounts singular_values;
    std::int64_t samples = 0;
};

/// One row for each layer that INSTANT would compress in g and each ε, from the exact gradients of
/// the next calibrate_batches batches of training.
std::vector<SpectrumRow> spectrum_study(RunProbe& run, const std::vector<double>& epsilon,
                                        const RunStudyOptions& options);

}  // namespace slimgrad
