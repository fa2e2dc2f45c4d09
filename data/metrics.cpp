#include "data/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "tensor/error.h"

namespace slimgrad {
namespace {

using Labels = std::span<const std::int32_t>;

void check(Labels predicted, Labels labels, std::string_view name) {
    require(!labels.empty() && predicted.size() == labels.size(),
            "[metrics] {}: expected a prediction for each label and at least one, got {} and {}",
            name, predicted.size(), labels.size());
}

/// How often each class was predicted where each was true, for two classes.
struct Counts {
    double tp = 0, fp = 0, fn = 0, tn = 0;
};

Counts count(Labels predicted, Labels labels, std::string_view name) {
    check(predicted, labels, name);
    std::array<double, 4> cells{};
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const std::int32_t guess = predicted[i], label = labels[i];
        require((guess | 1) == 1 && (label | 1) == 1,
                "[metrics] {}: expected classes 0 and 1, got the prediction {} for the label {} at "
                "{}",
                name, guess, label, i);
        cells[2 * static_cast<std::size_t>(guess) + static_cast<std::size_t>(label)] += 1;
    }
    return {.tp = cells[3], .fp = cells[2], .fn = cells[1], .tn = cells[0]};
}

constexpr std::array<std::pair<std::string_view, double (*)(Labels, Labels)>, 3> table{
    {{"accuracy", accuracy}, {"f1", f1}, {"matthews", matthews}}};

}  // namespace

double accuracy(Labels predicted, Labels labels) {
    check(predicted, labels, "accuracy");
    std::int64_t right = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) right += predicted[i] == labels[i];
    return static_cast<double>(right) / static_cast<double>(labels.size());
}

double f1(Labels predicted, Labels labels) {
    const Counts n = count(predicted, labels, "f1");
    const double all = 2 * n.tp + n.fp + n.fn;
    return all > 0 ? 2 * n.tp / all : 0;
}

double matthews(Labels predicted, Labels labels) {
    const Counts n = count(predicted, labels, "matthews");
    const double all = (n.tp + n.fp) * (n.tp + n.fn) * (n.tn + n.fp) * (n.tn + n.fn);
    return all > 0 ? (n.tp * n.tn - n.fp * n.fn) / std::sqrt(all) : 0;
}

std::vector<std::string> metric_names() {
    std::vector<std::string> names;
    for (const auto& entry : table) names.emplace_back(entry.first);
    return names;
}

double metric(std::string_view name, Labels predicted, Labels labels) {
    for (const auto& [known, value] : table)
        if (known == name) return value(predicted, labels);
    fail("[metrics] unknown metric '{}'. Known: {}", name, fmt::join(metric_names(), ", "));
}

std::int32_t majority_class(Labels labels) {
    require(!labels.empty(), "[metrics] expected at least one label, got none");
    std::map<std::int32_t, std::int64_t> counts;
    for (const std::int32_t label : labels) ++counts[label];
    std::int32_t best = counts.begin()->first;
    for (const auto& [label, count] : counts)
        if (count >= counts[best]) best = label;
    return best;
}

double baseline(std::string_view name, std::int32_t guess, Labels labels) {
    return metric(name, std::vector<std::int32_t>(labels.size(), guess), labels);
}

}  // namespace slimgrad
