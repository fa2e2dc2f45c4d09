#pragma once

#include <memory>

#include "data/image_data.h"
#include "nn/module.h"
#include "train/measurements.h"

namespace slimgrad {

/// Accuracy and mean cross-entropy of a model on a data set, in evaluation mode: exact products, no
/// dropout, running statistics. Counted under the phase `evaluate`.
Evaluation evaluate(Module& model, std::shared_ptr<const ImageData> data, std::int64_t batch_size);

}  // namespace slimgrad
