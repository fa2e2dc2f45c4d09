#include "train/weights.h"

#include <array>

#include "data/safetensors.h"
#include "train/named_tensors.h"

namespace slimgrad {

std::vector<NamedTensor> named_tensors(Module& model, const std::string& prefix) {
    std::vector<NamedTensor> tensors;
    for_each_parameter(model, [&](const std::string& name, Parameter& parameter) {
        tensors.push_back({prefix + name, parameter.value});
    });
    for_each_buffer(model, [&](const std::string& name, Tensor& buffer) {
        tensors.push_back({prefix + name, buffer});
    });
    return tensors;
}

void require_finite(const SafeTensors& file, std::span<const NamedTensor> targets) {
    for (const NamedTensor& target : targets)
        if (file.contains(target.name)) file.require_finite(target.name);
}

std::filesystem::path weights_file(const std::filesystem::path& from) {
    return std::filesystem::is_directory(from) ? from / "model.safetensors" : from;
}

void save_weights(const std::filesystem::path& file, Module& model) {
    write_safetensors(file, named_tensors(model));
}

void load_weights(const std::filesystem::path& file, Module& model) {
    // PyTorch counts the batches that BatchNorm has seen; slimgrad has no use for that.
    const std::array<std::string, 1> ignored = {"num_batches_tracked"};
    const SafeTensors weights = SafeTensors::open(file);
    const std::vector<NamedTensor> targets = named_tensors(model);
    require_finite(weights, targets);
    load_tensors(weights, targets, ignored);
}

}  // namespace slimgrad
