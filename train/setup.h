#pragma once

#include <memory>

#include "data/image_data.h"
#include "nn/module.h"
#include "train/config.h"

namespace slimgrad {

/// The data sets of a run, cut to its limits.
ImageSplits load_data(const TrainConfig& config);

/// The model of a run with its initial weights, frozen where the run freezes it.
std::unique_ptr<Module> build_model(const TrainConfig& config, const ImageData& data);

}  // namespace slimgrad
