#pragma once

#include <string>
#include <vector>

#include "data/safetensors.h"
#include "nn/module.h"

namespace slimgrad {

/// Every parameter and buffer of a model, under `prefix` and PyTorch's name.
std::vector<NamedTensor> named_tensors(Module& model, const std::string& prefix = "");

}  // namespace slimgrad
