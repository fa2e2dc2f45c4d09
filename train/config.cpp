#include "train/config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "nn/models/bert_config.h"
#include "nn/models/model.h"
#include "tensor/error.h"
#include "train/task.h"

namespace slimgrad {
namespace {

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

void require_known(const char* option, const std::string& value,
                   const std::vector<std::string>& known) {
    require(std::ranges::find(known, value) != known.end(), "[config] unknown {} '{}'. Known: {}",
            option, value, fmt::join(known, ", "));
}

void require_at_least(const char* option, std::int64_t value, std::int64_t least) {
    require(value >= least, "[config] expected {} >= {}, got {}", option, least, value);
}

/// A model that reads what the data set holds. What `from` is made of is looked at when it is
/// opened.
void require_model(const TrainConfig& c) {
    const bool text = is_text(c.data);
    if (c.model.empty() || (text && !c.from.empty())) return;
    const std::vector<std::string> fitting = text ? text_model_names() : model_names();
    const std::vector<std::string> others = text ? model_names() : text_model_names();
    require(std::ranges::find(others, c.model) == others.end(),
            "[config] model '{}' reads {}, and data '{}' are {}. Known for these: {}", c.model,
            text ? "images" : "texts", c.data, text ? "texts" : "images", fmt::join(fitting, ", "));
    require_known("model", c.model, fitting);
}

template <class T>
T read(const nlohmann::json& value, const std::string& source, const char* name) {
    const char* expected = "a string";
    bool fits = value.is_string();
    if constexpr (std::is_same_v<T, bool>) {
        expected = "true or false";
        fits = value.is_boolean();
    } else if constexpr (std::is_same_v<T, std::uint64_t>) {
        expected = "an integer of at least 0";
        fits = value.is_number_unsigned();
    } else if constexpr (std::is_integral_v<T>) {
        expected = "an integer";
        fits = value.is_number_integer();
    } else if constexpr (std::is_floating_point_v<T>) {
        expected = "a number";
        fits = value.is_number();
    }
    require(fits, "[config] {}: '{}' must be {}, got {}", source, name, expected, value.dump());
    return value.get<T>();
}

}  // namespace

MethodOptions TrainConfig::method_options() const {
    return {.method = method,
            .epsilon = epsilon,
            .oversample = oversample,
            .rank_x = rank_x,
            .rank_g = rank_g,
            .side_x = parse_side(side_x.empty() ? side : side_x),
            .side_g = parse_side(side_g.empty() ? side : side_g),
            .offset = parse_offset(offset),
            .break_even = parse_break_even(break_even),
            .batch = batch};
}

OptimizerOptions TrainConfig::optimizer_options() const {
    OptimizerOptions options{
        .name = optimizer, .lr = lr, .weight_decay = weight_decay, .decay_vectors = !is_text(data)};
    if (optimizer == "sgd") {
        options.momentum = momentum;
        options.nesterov = nesterov;
    }
    return options;
}

ScheduleOptions TrainConfig::schedule_options(std::int64_t total_steps) const {
    return {.name = schedule,
            .total_steps = total_steps,
            .warmup = warmup,
            .step_size = lr_step,
            .gamma = gamma};
}

void validate(const TrainConfig& c) {
    require_model(c);
    require_known("optimizer", c.optimizer, optimizer_names());
    for_each_option(c, [](const char* name, const auto& value, const char*) {
        if constexpr (std::is_floating_point_v<std::remove_cvref_t<decltype(value)>>)
            require(std::isfinite(value), "[config] expected a finite {}, got {}", name, value);
    });
    for (const auto& [name, value] : {std::pair{"limit_train", c.limit_train},
                                      {"limit_test", c.limit_test},
                                      {"steps", c.steps},
                                      {"threads", c.threads},
                                      {"calibrate_every", c.calibrate_every},
                                      {"checkpoint_every", c.checkpoint_every}})
        require_at_least(name, value, 0);
    for (const auto& [name, value] : {std::pair{"calibrate_batches", c.calibrate_batches},
                                      {"calibrate_split", c.calibrate_split},
                                      {"epochs", c.epochs},
                                      {"max_length", c.max_length},
                                      {"batch", c.batch},
                                      {"log_every", c.log_every}})
        require_at_least(name, value, 1);
    require(c.calibrate_split <= c.batch,
            "[config] calibrate_split {} cannot exceed the batch of {} samples", c.calibrate_split,
            c.batch);
    require(c.threads <= 1024, "[config] expected threads <= 1024, got {}", c.threads);
    require(c.lr >= 0, "[config] expected lr >= 0, got {}", c.lr);
    require(c.weight_decay >= 0, "[config] expected weight_decay >= 0, got {}", c.weight_decay);
    require(c.momentum >= 0, "[config] expected momentum >= 0, got {}", c.momentum);
    require(!c.dropout || (*c.dropout >= 0 && *c.dropout < 1),
            "[config] expected dropout in [0, 1), got {}", c.dropout.value_or(0));
    require(!(c.augment && is_text(c.data)), "[config] augment is for images, data '{}' are texts",
            c.data);
    require(c.vocab.empty() || is_text(c.data), "[config] vocab is for texts, data '{}' are images",
            c.data);
    require(c.label_smoothing >= 0 && c.label_smoothing < 1,
            "[config] expected label_smoothing in [0, 1), got {}", c.label_smoothing);
    require(c.clip >= 0, "[config] expected clip >= 0, got {}", c.clip);
    parse_side(c.side);
    validate(c.method_options());
    Schedule(c.schedule_options(0));
}

nlohmann::json to_json(const TrainConfig& config) {
    nlohmann::json json = nlohmann::json::object();
    for_each_option(config, [&](const char* name, const auto& value, const char*) {
        if constexpr (IsOptional<std::remove_cvref_t<decltype(value)>>::value) {
            if (value) json[name] = *value;
        } else {
            json[name] = value;
        }
    });
    return json;
}

TrainConfig config_from_json(const nlohmann::json& json, const std::string& source) {
    require(json.is_object(), "[config] {}: expected a JSON object of options", source);
    TrainConfig config;
    std::vector<std::string> known;
    for_each_option(config, [&](const char* name, auto& value, const char*) {
        using T = std::remove_cvref_t<decltype(value)>;
        known.emplace_back(name);
        const auto found = json.find(name);
        if (found == json.end()) return;
        if constexpr (IsOptional<T>::value)
            value = read<typename T::value_type>(*found, source, name);
        else
            value = read<T>(*found, source, name);
    });
    for (const auto& [key, value] : json.items())
        require(std::ranges::find(known, key) != known.end(),
                "[config] {}: unknown option '{}'. Known: {}", source, key, fmt::join(known, ", "));
    return config;
}

}  // namespace slimgrad
