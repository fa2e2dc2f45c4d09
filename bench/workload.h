#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/case.h"
#include "data/safetensors.h"

namespace slimgrad::bench {

/// How long the phases of one repetition took, in order; names with a dot ("backward.fc1") are
/// parts of the phase before the dot.
using Seconds = std::vector<std::pair<std::string, double>>;

/// The sum over all phases, or of one.
double total(const Seconds& seconds);
double phase(const Seconds& seconds, const std::string& name);

/// A case in one variant, ready to be run any number of times.
class Workload {
  public:
    virtual ~Workload() = default;
    /// One repetition.
    virtual Seconds run() = 0;
    /// One repetition from the initial values, with all that goes in and comes out of it, by name:
    /// inputs "in.", parameters "w.", projectors "P." and "Q.", results "out.", gradients "g.",
    /// updated parameters "new.". Call it before run(), which moves the parameters.
    virtual std::vector<NamedTensor> record() = 0;
    /// How many sets of values repetitions take in turn, so that none is in a cache.
    virtual std::int64_t sets() const { return 1; }
};

/// Throws Error for an unknown method, or sizes that are not positive.
std::unique_ptr<Workload> make_workload(const Case& which, const Variant& variant);

// The kinds of workloads; make_workload chooses.
std::unique_ptr<Workload> make_linears(const Case& which, const Variant& variant);
std::unique_ptr<Workload> make_step(const Case& which, const Variant& variant);
std::unique_ptr<Workload> make_calibration(const Case& which, const Variant& variant);

/// Throws Error, naming the tensor, unless a variant gives what the dense formulas give: the
/// largest difference of each result is at most `tolerance` times its largest value.
void verify(const Case& which, const Variant& variant, double tolerance);
/// The same with the tolerance of the case: 1e-4, or 2e-2 for a ResNet, where a ReLU makes of a
/// rounding error at zero one of the whole gradient behind it. (PyTorch's two memory layouts differ
/// by half a percent from each other.)
void verify(const Case& which, const Variant& variant);
/// For two records; of `expected` the names with these prefixes must be in `got`.
void compare_records(const std::string& what, const std::vector<NamedTensor>& got,
                     const std::vector<NamedTensor>& expected,
                     const std::vector<std::string>& prefixes, double tolerance);

/// Wall clock since it was made or last asked.
class Stopwatch {
  public:
    Stopwatch();
    double lap();

  private:
    double last_;
};

}  // namespace slimgrad::bench
