#pragma once

#include <functional>

#include "nn/module.h"
#include "train/measurements.h"
#include "train/task.h"

namespace slimgrad {

/// The metrics and the mean cross-entropy of a model on one pass over a split, in evaluation mode:
/// exact products, no dropout, running statistics. Counted under the phase `evaluate`.
/// `before_each` is called before each batch, and may throw to break off. Throws Error if the loss
/// is not finite: then the predictions mean nothing.
Evaluation evaluate(
    Module& model, const Split& split, const std::vector<std::string>& metrics,
    const std::function<void()>& before_each = [] {});

}  // namespace slimgrad
