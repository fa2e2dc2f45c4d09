#pragma once

#include <filesystem>

#include "nn/module.h"

namespace slimgrad {

/// The weights of a run, if `from` is one's directory, else `from` itself. Throws Error for a run
/// that is not finished.
std::filesystem::path weights_file(const std::filesystem::path& from);

/// Writes all parameters and buffers of a model to a safetensors file, under PyTorch's names.
void save_weights(const std::filesystem::path& file, Module& model);

/// Reads a model's parameters and buffers. Throws Error, one line that names the file and lists
/// what is missing, unexpected or of another shape, or that names a value that is not finite; the
/// model is then unchanged.
void load_weights(const std::filesystem::path& file, Module& model);

}  // namespace slimgrad
