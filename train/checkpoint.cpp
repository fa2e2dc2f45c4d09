#include "train/checkpoint.h"

#include <nlohmann/json.hpp>

#include "data/safetensors.h"
#include "train/named_tensors.h"

namespace slimgrad {
namespace {

constexpr const char* format_key = "slimgrad_checkpoint";
constexpr const char* format_version = "1";
constexpr const char* projector_prefix = "projector.";

/// What a checkpoint of this run holds beside projectors, as targets and as sources.
std::vector<NamedTensor> fixed_tensors(RunState& state) {
    std::vector<NamedTensor> tensors = named_tensors(state.model, "model.");
    state.optimizer.visit_state([&](const std::string& name, Tensor& tensor) {
        tensors.push_back({"optimizer." + name, tensor});
    });
    return tensors;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& file, RunState& state) {
    std::vector<NamedTensor> tensors = fixed_tensors(state);
    for (const auto& [name, tensor] : state.calibrator.state())
        tensors.push_back({projector_prefix + name, tensor});
    const nlohmann::json counters{{"step", state.step},
                                  {"optimizer_steps", state.optimizer.steps()},
                                  {"optimizer", state.optimizer.name()},
                                  {"method", state.calibrator.options().method},
                                  {"metrics_bytes", state.metrics_bytes},
                                  {"measurements", state.measurements}};
    write_safetensors(file, tensors, {{format_key, format_version}, {"state", counters.dump()}});
}

void load_checkpoint(const std::filesystem::path& path, RunState& state) {
    const SafeTensors file = SafeTensors::open(path);
    const auto version = file.metadata().find(format_key);
    require(version != file.metadata().end(),
            "[checkpoint] '{}' is a safetensors file, but no checkpoint of a run", path.string());
    require(version->second == format_version,
            "[checkpoint] '{}' has version {}, this program reads {}", path.string(),
            version->second, format_version);

    Measurements measurements;
    nlohmann::json counters;
    std::int64_t optimizer_steps = 0;
    try {
        counters = nlohmann::json::parse(file.metadata().at("state"));
        counters.at("step").get_to(state.step);
        counters.at("metrics_bytes").get_to(state.metrics_bytes);
        counters.at("optimizer_steps").get_to(optimizer_steps);
        counters.at("measurements").get_to(measurements);
        for (const auto& [what, expected] :
             {std::pair<const char*, std::string>{"optimizer", state.optimizer.name()},
              {"method", state.calibrator.options().method}}) {
            const auto found = counters.at(what).get<std::string>();
            require(found == expected, "[checkpoint] '{}' is of {} '{}', the run of '{}'",
                    path.string(), what, found, expected);
        }
    } catch (const nlohmann::json::exception&) {
        fail("[checkpoint] '{}' is damaged: its counters cannot be read", path.string());
    } catch (const std::out_of_range&) {
        fail("[checkpoint] '{}' is damaged: it has no counters", path.string());
    }
    require(state.step >= 0 && optimizer_steps >= 0 && state.metrics_bytes >= 0,
            "[checkpoint] '{}' is damaged: a counter is negative", path.string());

    std::vector<NamedTensor> targets = fixed_tensors(state);
    Calibrator::State projectors;
    const std::string_view prefix = projector_prefix;
    for (const TensorEntry& entry : file.entries())
        if (entry.name.starts_with(prefix)) {
            targets.push_back({entry.name, Tensor(entry.shape)});
            projectors.emplace_back(entry.name.substr(prefix.size()), targets.back().tensor);
        }
    load_tensors(file, targets);
    state.calibrator.restore(projectors);
    state.optimizer.set_steps(optimizer_steps);
    state.measurements = std::move(measurements);
}

}  // namespace slimgrad
