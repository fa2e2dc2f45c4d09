#pragma once

#include <functional>

#include "nn/module.h"
#include "tensor/error.h"
#include "train/measurements.h"
#include "train/task.h"

namespace slimgrad {

/// The predictions mean nothing.
struct LossNotFinite : Error {
    using Error::Error;
};

/// The metrics and the mean cross-entropy of a model on one pass over a split, in evaluation mode:
/// exact products, no dropout, running statistics. Counted under the phase `evaluate`.
/// `before_each` is called before each batch, and may throw to break off. Throws LossNotFinite, and
/// Error for data that cannot be read.
Evaluation evaluate(
    Module& model, const Split& split, const std::vector<std::string>& metrics,
    const std::function<void()>& before_each = [] {});

}  // namespace slimgrad
