#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "train/figures.h"
#include "train/method_study.h"

namespace slimgrad::cli {

// `slimgrad snr` asks the same of three kinds of sources. Each fills in what it finds.

/// The options of the command.
struct SnrRequest {
    bool json = false, quiet = false;
    std::string source = "synthetic", weight, covariance = "separable", offset = "paper", side;
    std::string sweep, layer, out;
    std::vector<double> epsilon;
    std::vector<std::int64_t> oversample, steps = {0, 1, 2, 5, 10, 20, 50};
    std::optional<double> alpha, lr;
    double confidence = 0.99;
    std::int64_t samples = 10000, seeds = 1, threads = 0;
    std::uint64_t seed = 0;
    SnrSourceOptions synthetic;
    std::int64_t batches = 10;
    std::optional<std::int64_t> calibrate_batches;
    // Of a sweep over the rank.
    std::vector<std::string> methods = MethodStudyOptions{}.methods;
    std::vector<std::int64_t> ranks = MethodStudyOptions{}.ranks;
    std::int64_t draws = MethodStudyOptions{}.draws;
};

/// What a command finds out, for every form of output.
struct SnrFindings {
    nlohmann::json document = nlohmann::json::object();
    std::vector<Figure> figures;
    std::vector<std::string> notes;  // below the tables

    void add(Figure figure) { figures.push_back(std::move(figure)); }
};

/// Gradients drawn from a covariance that is known.
void snr_of_synthetic(SnrRequest request, SnrFindings& found);
/// Gradients and a weight from files of NumPy.
void snr_of_arrays(SnrRequest request, SnrFindings& found);
/// The layers of a run: their ratios and errors, a sweep over one of them, or staleness.
void snr_of_run(SnrRequest request, SnrFindings& found);

/// The choice that the options and these values ask for. Throws Error for one out of range.
SnrOptions snr_choice(const SnrRequest& request, double epsilon, std::int64_t oversample,
                      Side side);
/// A sweep over epsilon, oversample or offset for one subject, with its chart.
void add_sweep(const SnrRequest& request, const SnrSubject& subject, SnrFindings& found);
/// The gradients of several methods at several ranks, with charts against what they cost.
void add_methods(const SnrRequest& request, RunProbe& run, const RunStudyOptions& options,
                 SnrFindings& found);
/// In how many rows the theory lies within the interval of the measurement.
void add_summary(const nlohmann::json& rows, SnrFindings& found);

}  // namespace slimgrad::cli
