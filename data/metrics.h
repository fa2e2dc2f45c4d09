#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace slimgrad {

/// What part of the predictions is right.
double accuracy(std::span<const std::int32_t> predicted, std::span<const std::int32_t> labels);

/// 2 TP / (2 TP + FP + FN) of class 1 among classes 0 and 1; 0 if nothing is or is called positive.
double f1(std::span<const std::int32_t> predicted, std::span<const std::int32_t> labels);

/// Matthews' correlation, (TP TN - FP FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)) of classes 0 and 1,
/// from -1 to 1; 0 if a factor is.
double matthews(std::span<const std::int32_t> predicted, std::span<const std::int32_t> labels);

/// The names of the metrics: "accuracy", "f1", "matthews".
std::vector<std::string> metric_names();
/// The metric of that name. All throw Error for an unknown name, unless there are as many
/// predictions as labels and at least one, and f1 and matthews for other classes than 0 and 1.
double metric(std::string_view name, std::span<const std::int32_t> predicted,
              std::span<const std::int32_t> labels);

/// The most frequent label; of equally frequent ones the largest, so that among two classes the
/// baseline of F1 is the harder one. Throws Error if there is none.
std::int32_t majority_class(std::span<const std::int32_t> labels);
/// What a metric says of the constant prediction `guess`: what any model has to beat.
double baseline(std::string_view metric, std::int32_t guess, std::span<const std::int32_t> labels);

}  // namespace slimgrad
