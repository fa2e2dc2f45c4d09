#pragma once

#include <filesystem>

#include "nn/module.h"
#include "train/load_report.h"

namespace slimgrad {

/// Reads the weights of a model of images, which messages call `name`, from a safetensors file in
/// slimgrad's names or in those of another library (BlockModel::aliases). The weight of a
/// convolution that cuts patches is also that of a linear layer; what depends on the size of the
/// images is resized. The classifier stays fresh if the file lacks it or has other classes. Throws
/// Error, one line that names the file and lists them, if anything else is missing, of another
/// shape or not finite, or if the file has values that the model has not; the model is then
/// unchanged.
LoadReport load_image_weights(const std::filesystem::path& file, Module& model,
                              const std::string& name);

}  // namespace slimgrad
