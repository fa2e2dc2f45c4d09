#include "train/checkpoint.h"

#include <nlohmann/json.hpp>

#include "data/safetensors.h"
#include "train/named_tensors.h"
#include "train/same_run.h"

namespace slimgrad {
namespace {

constexpr const char* format_key = "slimgrad_checkpoint";
constexpr const char* format_version = "9";  // 9: bits of kept values
constexpr const char* projector_prefix = "projector.";
constexpr const char* weights_prefix = "row_weights.";
constexpr const char* watched_prefix = "watched.";
constexpr std::int64_t max_dim = 1 << 20;  // beyond that a file is damaged

/// What a checkpoint of this run holds beside projectors, as targets and as sources.
std::vector<NamedTensor> fixed_tensors(RunState& state) {
    std::vector<NamedTensor> tensors = named_tensors(state.model, "model.");
    state.optimizer.visit_state([&](const std::string& name, Tensor& tensor) {
        tensors.push_back({"optimizer." + name, tensor});
    });
    return tensors;
}

nlohmann::json slots_json(const Calibrator::State& slots) {
    nlohmann::json json = nlohmann::json::array();
    for (const auto& [name, found, basis, weights] : slots)
        json.push_back({{"name", name},
                        {"side", to_string(found.side)},
                        {"rank", found.rank},
                        {"dim", found.dim},
                        {"energy", found.energy},
                        {"signal", found.signal},
                        {"break_even", found.break_even},
                        {"vanilla", found.vanilla},
                        {"weighted", weights.defined()}});
    return json;
}

/// The slots without their projectors.
Calibrator::State slots_from(const nlohmann::json& json) {
    Calibrator::State slots;
    for (const auto& slot : json) {
        CalibratedSlot found;
        found.side = slot.at("side") == "token" ? Side::token : Side::channel;
        slot.at("rank").get_to(found.rank);
        slot.at("dim").get_to(found.dim);
        slot.at("energy").get_to(found.energy);
        slot.at("signal").get_to(found.signal);
        slot.at("break_even").get_to(found.break_even);
        slot.at("vanilla").get_to(found.vanilla);
        slots.push_back({slot.at("name"), found, Tensor(), Tensor()});
        if (slot.at("weighted").get<bool>()) slots.back().weights = Tensor({0});  // yet to be read
    }
    return slots;
}

nlohmann::json watched_json(const Statistics::State& sums) {
    nlohmann::json json = nlohmann::json::array();
    for (const RunningSum& sum : sums) {
        nlohmann::json entry{{"name", sum.name},
                             {"side", to_string(sum.side)},
                             {"tokens", sum.tokens},
                             {"exponent", nullptr}};
        if (sum.scale.state()) entry["exponent"] = *sum.scale.state();
        json.push_back(std::move(entry));
    }
    return json;
}

/// The sums without their values.
Statistics::State watched_from(const nlohmann::json& json) {
    Statistics::State sums;
    for (const auto& entry : json) {
        RunningSum sum;
        entry.at("name").get_to(sum.name);
        sum.side = entry.at("side") == "token" ? Side::token : Side::channel;
        entry.at("tokens").get_to(sum.tokens);
        if (!entry.at("exponent").is_null())
            sum.scale = CommonScale(entry.at("exponent").get<int>());
        sums.push_back(std::move(sum));
    }
    return sums;
}

nlohmann::json spaces_json(const std::vector<StateSpace>& spaces) {
    nlohmann::json json = nlohmann::json::array();
    for (const auto& [name, shape, period] : spaces)
        json.push_back({{"name", name}, {"shape", shape}, {"period", period}});
    return json;
}

std::vector<StateSpace> spaces_from(const nlohmann::json& json) {
    std::vector<StateSpace> spaces;
    for (const auto& space : json)
        spaces.push_back({space.at("name"), space.at("shape"), space.at("period")});
    return spaces;
}

void require_same_run(const std::filesystem::path& path, const nlohmann::json& counters,
                      const RunState& state) {
    const nlohmann::json begun = identity(config_from_json(counters.at("options"), path.string()));
    const std::string changed = changes(begun, identity(state.config));
    require(changed.empty(),
            "[checkpoint] '{}': config.json was changed since the run was begun: {}. Hint: put it "
            "back, or begin another run, if need be --from this one",
            path.string(), changed);
    for (const auto& [split, now] :
         {std::pair{"train", state.data.train}, {"test", state.data.test}})
        require(counters.at("data").at(split) == now,
                "[checkpoint] '{}': the {} data of '{}' are not those that the run was begun with "
                "(digest {} now, {} then)",
                path.string(), split, state.config.data, now,
                counters.at("data").at(split).get<std::string>());
}

}  // namespace

void save_checkpoint(const std::filesystem::path& file, RunState& state) {
    std::vector<NamedTensor> tensors = fixed_tensors(state);
    const Calibrator::State slots = state.calibrator.state();
    for (const auto& [name, found, basis, weights] : slots) {
        if (basis.defined()) tensors.push_back({projector_prefix + name, basis});
        if (weights.defined()) tensors.push_back({weights_prefix + name, weights});
    }
    const Statistics::State watched = state.calibrator.watched();
    for (const RunningSum& sum : watched) tensors.push_back({watched_prefix + sum.name, sum.sum});
    const nlohmann::json counters{
        {"step", state.step},
        {"optimizer_steps", state.optimizer.steps()},
        {"optimizer_spaces", spaces_json(state.optimizer.spaces())},
        {"options", identity(state.config)},
        {"data", {{"train", state.data.train}, {"test", state.data.test}}},
        {"slots", slots_json(slots)},
        {"watched", watched_json(watched)},
        {"sketch_ranks", state.calibrator.sketch_ranks()},
        {"metrics_bytes", state.metrics_bytes},
        {"measurements", state.measurements}};
    write_safetensors(file, tensors, {{format_key, format_version}, {"state", counters.dump()}});
}

void load_checkpoint(const std::filesystem::path& path, RunState& state) {
    const SafeTensors file = SafeTensors::open(path);
    const auto version = file.metadata().find(format_key);
    require(version != file.metadata().end(),
            "[checkpoint] '{}' is a safetensors file, but no checkpoint of a run", path.string());
    require(
        version->second == format_version,
        "[checkpoint] '{}' has version {}, this program reads {}. Hint: the program that wrote it "
        "can resume it",
        path.string(), version->second, format_version);

    Measurements measurements;
    nlohmann::json counters;
    std::int64_t optimizer_steps = 0;
    Calibrator::State slots;
    std::vector<StateSpace> spaces;
    std::map<std::string, std::int64_t> sketch_ranks;
    Statistics::State watched;
    try {
        counters = nlohmann::json::parse(file.metadata().at("state"));
        counters.at("step").get_to(state.step);
        counters.at("metrics_bytes").get_to(state.metrics_bytes);
        counters.at("optimizer_steps").get_to(optimizer_steps);
        counters.at("measurements").get_to(measurements);
        slots = slots_from(counters.at("slots"));
        watched = watched_from(counters.at("watched"));
        spaces = spaces_from(counters.at("optimizer_spaces"));
        counters.at("sketch_ranks").get_to(sketch_ranks);
        require_same_run(path, counters, state);
    } catch (const nlohmann::json::exception&) {
        fail("[checkpoint] '{}' is damaged: its counters cannot be read", path.string());
    } catch (const std::out_of_range&) {
        fail("[checkpoint] '{}' is damaged: it has no counters", path.string());
    }
    require(state.step >= 0 && optimizer_steps >= 0 && state.metrics_bytes >= 0,
            "[checkpoint] '{}' is damaged: a counter is negative", path.string());

    try {
        state.optimizer.set_spaces(spaces);
    } catch (const Error& error) {
        fail("[checkpoint] '{}' is damaged: {}", path.string(), error.what());
    }
    std::vector<NamedTensor> targets = fixed_tensors(state);
    for (auto& [name, found, basis, weights] : slots) {
        if (found.vanilla) continue;
        require(found.rank >= 1 && found.dim >= found.rank && found.dim < max_dim,
                "[checkpoint] '{}' is damaged: '{}' has rank {} of {}", path.string(), name,
                found.rank, found.dim);
        basis = Tensor({found.rank, found.dim});
        targets.push_back({projector_prefix + name, basis});
        if (!weights.defined()) continue;
        weights = Tensor({found.dim});
        targets.push_back({weights_prefix + name, weights});
    }
    for (RunningSum& sum : watched) {
        sum.sum = Tensor(file.shape(watched_prefix + sum.name));
        targets.push_back({watched_prefix + sum.name, sum.sum});
    }
    // Of the weights alone: an average of squares may overflow and the run go on.
    require_finite(file, named_tensors(state.model, "model."));
    load_tensors(file, targets);
    state.calibrator.restore(slots);
    state.calibrator.restore_watched(watched);
    state.calibrator.set_sketch_ranks(sketch_ranks);
    state.optimizer.set_steps(optimizer_steps);
    state.measurements = std::move(measurements);
}

}  // namespace slimgrad
