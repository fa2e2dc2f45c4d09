#include "train/weights.h"

#include <array>
#include <system_error>

#include "data/safetensors.h"
#include "train/named_tensors.h"
#include "train/run_directory.h"

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
    std::error_code none;
    if (!std::filesystem::is_directory(from, none)) return from;
    require(is_complete(from) || !holds_run(from),
            "[weights] the run '{}' is not finished. Hint: slimgrad train --resume {}",
            from.string(), from.string());
    return from / "model.safetensors";
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
