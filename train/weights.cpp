#include "train/weights.h"

#include <array>
#include <system_error>

#include "data/safetensors.h"
#include "nn/low_rank_adapter.h"
#include "train/named_tensors.h"
#include "train/run_directory.h"

namespace slimgrad {
namespace {

void add_buffers(Module& model, const std::string& prefix, std::vector<NamedTensor>& tensors) {
    for_each_buffer(model, [&](const std::string& name, Tensor& buffer) {
        tensors.push_back({prefix + name, buffer});
    });
}

}  // namespace

std::vector<NamedTensor> named_tensors(Module& model, const std::string& prefix) {
    std::vector<NamedTensor> tensors;
    for_each_parameter(model, [&](const std::string& name, Parameter& parameter) {
        tensors.push_back({prefix + name, parameter.value});
    });
    add_buffers(model, prefix, tensors);
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
    std::vector<NamedTensor> tensors;
    for_each_merged_value(model, [&](const std::string& name, const Tensor& value) {
        tensors.push_back({name, value});
    });
    add_buffers(model, "", tensors);
    write_safetensors(file, tensors);
}

void save_adapters(const std::filesystem::path& file, Module& model) {
    std::vector<NamedTensor> tensors;
    for_each_parameter(model, [&](const std::string& name, Parameter& parameter) {
        if (parameter.requires_grad)
            tensors.push_back({"base_model.model." + name, parameter.value});
    });
    std::map<std::string, std::string> metadata{{"format", "pt"}};
    for (LinearMap* layer : linear_maps(model))
        if (const auto* linear = dynamic_cast<Linear*>(layer); linear && linear->adapter()) {
            const LowRankAdapter& adapter = *linear->adapter();
            metadata.emplace("lora_alpha", fmt::format("{}", adapter.alpha()));
            metadata.emplace(layer->path() + ".r", fmt::format("{}", adapter.rank()));
        }
    write_safetensors(file, tensors, metadata);
}

void load_weights(const std::filesystem::path& file, Module& model) {
    // PyTorch counts the batches that BatchNorm has seen; slimgrad has no use for that.
    const std::array<std::string, 1> ignored = {"num_batches_tracked"};
    const SafeTensors weights = SafeTensors::open(file);
    std::vector<NamedTensor> targets;
    for_each_base_parameter(model, [&](const std::string& name, Parameter& parameter) {
        targets.push_back({name, parameter.value});
    });
    add_buffers(model, "", targets);
    require_finite(weights, targets);
    load_tensors(weights, targets, ignored);
}

}  // namespace slimgrad
