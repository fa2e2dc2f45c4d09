#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/config.h"
#include "train/timeline.h"

namespace slimgrad {

/// One training step, watched, by each of several methods.
struct TraceOptions {
    std::vector<std::string> methods{"vanilla", "instant"};  // specs (method_spec.h)
    std::int64_t warmup_steps = 2;           // steps of training before the one that is watched
    TrainConfig base{};                      // of every method, but for `method`
    std::vector<std::string> given{};        // names of options in `base` that were chosen
    bool quiet = false;                      // no progress on standard error
    std::filesystem::path page{}, chrome{};  // files to write; empty: none
};

Option methods_of_trace_option();
Option warmup_steps_option();
/// Options of a run that mean nothing for a step.
const std::vector<std::string>& not_for_a_trace();

/// What one method did.
struct MethodTrace {
    std::string method;  // the spec
    TrainConfig config;
    std::string batch;           // a digest of the batch of the step
    std::int64_t samples = 0;    // in it
    std::vector<double> losses;  // of each step, that of the watched one last
    Timeline timeline;
};

/// Is told what the user should know, a line each.
using TraceNote = std::function<void(const std::string&)>;

/// Trains `warmup_steps` steps with each method and watches the next one. All begin from the same
/// weights and see the same batches; methods calibrate as they do in training. Writes the files
/// that are asked for, each as a whole, and returns the document (docs/trace.md). `between` is
/// called before each step and may throw. Throws Error before the first step, one line, for options
/// that will not do and for files that may not be replaced.
nlohmann::json trace(const TraceOptions& options, const TraceNote& note,
                     const std::function<void()>& between = {});

/// The same without document and files.
std::vector<MethodTrace> trace_methods(const TraceOptions& options, const TraceNote& note,
                                       const std::function<void()>& between = {});

/// What `slimgrad trace --json` prints.
nlohmann::json trace_document(const std::vector<MethodTrace>& traces, std::int64_t warmup_steps);
/// All methods in Chrome's trace format, one process each, for Perfetto and chrome://tracing.
nlohmann::json chrome_trace(const std::vector<MethodTrace>& traces);

/// The largest holders at the peak of the first method: parameters, gradients and values that
/// layers keep, and what is left of each category as one. `kept` has what each method holds of it;
/// of what is left, at its own peak. A value that another method keeps in another form, x as x_hat,
/// is what the layer keeps instead.
nlohmann::json peak_holders(const std::vector<MethodTrace>& traces, std::size_t most = 10);

}  // namespace slimgrad
