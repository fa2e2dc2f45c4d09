#pragma once

#include <span>
#include <string>
#include <vector>

#include "data/safetensors.h"
#include "nn/module.h"

namespace slimgrad {

/// Every parameter and buffer of a model, under `prefix` and PyTorch's name.
std::vector<NamedTensor> named_tensors(Module& model, const std::string& prefix = "");

/// Throws Error that names the first value that is not finite among those that the file has for
/// these.
void require_finite(const SafeTensors& file, std::span<const NamedTensor> targets);

}  // namespace slimgrad
