#pragma once

#include <cstdint>
#include <span>

#include "autograd/tape.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

struct CrossEntropyOptions {
    /// Share of the target that is spread evenly over all classes (Szegedy et al. 2016).
    double label_smoothing = 0;
    /// Samples with this label count neither in the loss nor in its mean.
    std::int32_t ignore_index = -100;
};

/// The mean over samples of -log softmax(x)[label], for logits x: (N, C) or (..., C) with one label
/// for each row; a scalar. Throws Error for a label out of range, naming the sample, and if every
/// label is ignored.
Var cross_entropy(const Var& logits, std::span<const std::int32_t> labels,
                  const CrossEntropyOptions& options = {});

/// The mean over all elements of (x - target)²; a scalar. Throws Error for unequal shapes.
Var mse(const Var& x, const Var& target);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
