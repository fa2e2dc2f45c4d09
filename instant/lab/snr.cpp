#include "instant/lab/snr.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "instant/calibration/projector.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

const std::vector<std::pair<SnrOffset, std::string>>& offsets() {
    static const std::vector<std::pair<SnrOffset, std::string>> names = {
        {SnrOffset::paper, "paper"},
        {SnrOffset::none, "none"},
        {SnrOffset::energy, "energy"},
        {SnrOffset::signal, "signal"}};
    return names;
}

double total(const std::vector<double>& values, std::int64_t begin, std::int64_t end) {
    return std::accumulate(values.begin() + begin, values.begin() + end, 0.0);
}

/// α for R kept modes.
double scale_of(const std::vector<double>& sigma, std::int64_t rank, const SnrOptions& options) {
    if (options.alpha) return *options.alpha;
    switch (options.offset) {
        case SnrOffset::paper:
            return 1 / options.epsilon;
        case SnrOffset::none:
            return 1;
        case SnrOffset::energy:
            return 1 / kept_share(sigma, rank, 2);
        case SnrOffset::signal:
            return 1 / kept_share(sigma, rank, 1);
    }
    return 1;
}

}  // namespace

std::vector<std::string> snr_offset_names() {
    std::vector<std::string> names;
    for (const auto& [offset, name] : offsets()) names.push_back(name);
    return names;
}

std::string to_string(SnrOffset offset) {
    return std::ranges::find(offsets(), offset, [](const auto& entry) { return entry.first; })
        ->second;
}

SnrOffset parse_snr_offset(const std::string& word) {
    const auto found =
        std::ranges::find(offsets(), word, [](const auto& entry) { return entry.second; });
    require(found != offsets().end(), "[snr] unknown offset '{}'. Known: {}", word,
            fmt::join(snr_offset_names(), ", "));
    return found->first;
}

void validate(const SnrOptions& o) {
    const auto check = [](const Option& option, const auto& value) {
        check_option("[snr]", option, value);
    };
    check(method_option("epsilon"), o.epsilon);
    check(method_option("oversample"), o.oversample);
    check({"rank", method_option("rank_x").range}, o.rank);
    check({"alpha", snr_alphas}, o.alpha);
    check({"confidence", snr_confidences}, o.confidence);
}

double snr_of(double alpha, double S, double N) {
    return alpha * alpha * S / ((alpha - 1) * (alpha - 1) * S + N);
}

SnrTheory snr_theory(const GradientModes& modes, const SnrOptions& options) {
    validate(options);
    const auto n = std::ssize(modes.sigma);
    require(n > 0 && std::ssize(modes.weighted) == n,
            "[snr] expected as many weighted energies as eigenvalues, {}, got {}", n,
            modes.weighted.size());
    SnrTheory t;
    t.rank = truncated_rank(
        modes.sigma,
        {.epsilon = options.epsilon, .oversample = options.oversample, .rank = options.rank});
    t.alpha = scale_of(modes.sigma, t.rank, options);
    t.S = total(modes.sigma, 0, t.rank);
    t.N = total(modes.sigma, t.rank, n);
    t.Sw = total(modes.weighted, 0, t.rank);
    t.Nw = total(modes.weighted, t.rank, n);
    t.predicted = snr_of(t.alpha, t.S, t.N);
    t.exact = snr_of(t.alpha, t.Sw, t.Nw);
    t.best_alpha = 1 + t.N / t.S;
    t.best_alpha_w = 1 + t.Nw / t.Sw;
    return t;
}

Snr snr(const Tensor& g, const Tensor& w, const SnrOptions& options) {
    validate(options);
    GradientCovariance covariance(options.side);
    covariance.add(g);
    Snr result;
    result.modes = covariance.modes();
    SnrMeasurement measurement(options.side, result.modes.basis, w);
    measurement.add(g);
    result.modes.weighted = measurement.weighted();
    result.theory = snr_theory(result.modes, options);
    result.measured = measurement.at(result.theory.rank, result.theory.alpha, options.confidence);
    return result;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
