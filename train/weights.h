#pragma once

#include <filesystem>

#include "nn/module.h"

namespace slimgrad {

/// The weights of a run, if `from` is one's directory, else `from` itself. Throws Error for a run
/// that is not finished.
std::filesystem::path weights_file(const std::filesystem::path& from);

/// Writes all parameters and buffers of a model to a safetensors file, under PyTorch's names.
/// Adapters are merged into their weights: the file is that of a model without.
void save_weights(const std::filesystem::path& file, Module& model);

/// Writes what a model with adapters has learned: all that trains, A and B, with PEFT's prefix,
/// "base_model.model.blocks.0.fc1.lora_A.weight", with α and r in the metadata.
void save_adapters(const std::filesystem::path& file, Module& model);

/// Reads a model's parameters and buffers; adapters stay as they are. Throws Error, one line that
/// names the file and lists what is missing, unexpected or of another shape, or that names a value
/// that is not finite; the model is then unchanged.
void load_weights(const std::filesystem::path& file, Module& model);

}  // namespace slimgrad
