#pragma once

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bench/case.h"
#include "bench/statistics.h"

namespace slimgrad::bench {

/// How one variant of a case did on a number of threads.
struct Measurement {
    Case which;
    Variant variant;
    int threads = 1;
    int rounds = 0;
    Spread total;
    std::map<std::string, Spread> phases;

    double median(const std::string& phase) const;
    /// Backward with the compression that a method adds to forward, where it is timed apart.
    double backward() const { return median("backward") + median("compress"); }
};

struct MeasureOptions {
    std::vector<int> threads = {1};
    int rounds = 9, warmup = 2;
    bool verify = true;
    /// Asked after every repetition; true ends the measurement with the rounds that are complete.
    std::function<bool()> stop = [] { return false; };
    /// Told what is going on, for whoever waits.
    std::function<void(const std::string&)> progress = [](const std::string&) {};
};

/// The variants of a case that are worth comparing: vanilla, and the methods with each rank; linear
/// maps with Q, K and V both as one product and as three. A case with ranks of its own has only
/// those.
std::vector<Variant> variants_of(const Case& which, const std::vector<std::string>& methods,
                                 const std::vector<Ranks>& ranks);

/// Times variants against each other: verified first, then round by round one repetition of each,
/// so that whatever else the machine does falls on all alike. Throws Error if a result is wrong.
std::vector<Measurement> measure(const Case& which, const std::vector<Variant>& variants,
                                 const MeasureOptions& options);

/// The measurements of one case beside the best vanilla on as many threads, one row each: medians
/// in seconds by phase, quartiles of the total, `speedup` of the whole and of the backward,
/// `flop_ratio`, and `realised` = speed-up of the backward (compression included) / FLOP ratio.
nlohmann::json to_json(const std::vector<Measurement>& measurements);

/// "instant R16 qkv" and the like.
std::string label(const Variant& variant, Kind kind);

}  // namespace slimgrad::bench
