#pragma once

#include "train/snr_study.h"

namespace slimgrad {

/// How many directions a share of a layer's output gradient lies in (INSTANT, Fig. 3).
struct SpectrumRow {
    std::string name;
    std::int64_t tokens = 0, out_channels = 0;
    Side side = Side::token;
    std::int64_t dim = 0;
    double epsilon = 0.95;
    /// Eigenvalues of C = E[g gᵀ] whose squares hold ε of the sum of squares: the rank of
    /// INSTANT-0.
    std::int64_t rank = 0;
    /// The same of each sample's own g gᵀ, as the paper draws it: mean and maximum.
    double sample_rank = 0;
    std::int64_t sample_rank_max = 0;
    std::vector<double>
        energy;  // share of the squares that the first 1, 2, … eigenvalues of C hold
    std::int64_t samples = 0;
};

/// One row for each layer that INSTANT would compress in g and each ε, from the exact gradients of
/// the next calibrate_batches batches of training.
std::vector<SpectrumRow> spectrum_study(RunProbe& run, const std::vector<double>& epsilon,
                                        const RunStudyOptions& options);

}  // namespace slimgrad
