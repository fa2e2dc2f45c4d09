#include "train/config.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "data/image_data.h"
#include "data/picture_source.h"
#include "data/text_data.h"
#include "data/unicode.h"
#include "nn/models/bert_config.h"
#include "nn/models/model.h"
#include "tensor/error.h"
#include "train/option_json.h"
#include "train/recipes.h"
#include "train/task.h"

namespace slimgrad {
namespace {

[[noreturn]] void fail_unknown(const std::string& where, const std::string& name,
                               const std::vector<std::string>& known) {
    fail("{} unknown option {}. Known: {}", where, shown(name), fmt::join(known, ", "));
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
    check_option("[config]", {"model", Words{fitting}}, c.model);
}

/// Texts of every length, for methods that take them.
void require_length(const TrainConfig& c) {
    if (c.pad == "fixed") return;
    require(is_text(c.data), "[config] pad is for texts, data '{}' are images", c.data);
    const std::string why = why_one_length(c.method_options());
    require(why.empty(),
            "[config] with pad {} each batch has a length of its own, and method '{}' {}. Hint: "
            "{}pad fixed",
            c.pad, c.method, why, find_method(c.method).cuts_patches ? "" : "side channel, or ");
}

}  // namespace

TrainConfig spelled_out(TrainConfig config, const std::string& where) {
    if (config.codec.empty()) return config;
    add_codec(config, std::exchange(config.codec, ""), where);
    config.codec_was_added = true;
    return config;
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
            .gamma = gamma,
            .min_lr_rate = min_lr_rate};
}

std::vector<std::string> data_names() {
    std::vector<std::string> names = image_data_names();
    names.emplace_back(picture_folder_name);
    for (std::string& name : text_data_names()) names.push_back(std::move(name));
    return names;
}

std::vector<std::string> known_models() {
    std::vector<std::string> names = model_names();
    for (std::string& name : text_model_names()) names.push_back(std::move(name));
    return names;
}

std::vector<std::string> option_names() {
    std::vector<std::string> names;
    const TrainConfig config;
    for_each_option(config,
                    [&](const Option& option, const auto&) { names.push_back(option.name); });
    return names;
}

Option seeds_option() {
    constexpr std::int64_t most = 1000;  // of the shortest runs, an hour
    return {"seeds", Integers{1, most}, "runs of each method: --seed, --seed + 1, ..."};
}

void validate(const TrainConfig& c) {
    for_each_option(c, [](const Option& option, const auto& value) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, std::string>)
            require(find_invalid_utf8(value) == value.npos,
                    "[config] expected UTF-8 as {}, got '{}'", option.name, value);
        check_option("[config]", option, value);
    });
    find_method(c.method);
    require_model(c);
    require_length(c);
    require(c.calibrate_split <= c.batch,
            "[config] calibrate_split {} cannot exceed the batch of {} samples", c.calibrate_split,
            c.batch);
    if (c.calibrate != "paper" && calibrated_slots(c).any()) {
        require(c.calibrate == "train" || c.calibrate_every > 0,
                "[config] calibrate stream needs a calibrate_every above 0");
        require(c.calibrate_every == 0 || c.calibrate_batches < c.calibrate_every,
                "[config] calibrate {} makes {} steps exact (calibrate_batches), expected fewer "
                "than calibrate_every {}",
                c.calibrate, c.calibrate_batches, c.calibrate_every);
    }
    require(!(c.augment && is_text(c.data)), "[config] augment is for images, data '{}' are texts",
            c.data);
    require(c.vocab.empty() || is_text(c.data), "[config] vocab is for texts, data '{}' are images",
            c.data);
    require(c.batch_norm != "frozen" || !c.from.empty(),
            "[config] batch_norm frozen keeps the statistics of weights that were trained. Hint: "
            "--from");
    require(!c.nesterov || c.momentum > 0, "[config] nesterov needs a momentum above 0");
}

nlohmann::json to_json(const TrainConfig& config) {
    nlohmann::json json = nlohmann::json::object();
    for_each_option(config, [&](const Option& option, const auto& value) {
        if (option.name == "codec" && config.codec.empty()) return;  // a part of the method
        nlohmann::json written;
        write_option(written, value);
        if (!written.is_null()) json[option.name] = written;
    });
    return json;
}

TrainConfig config_from_json(const nlohmann::json& json, const std::string& source) {
    const std::string where = fmt::format("[config] {}:", source);
    require(json.is_object(), "{} expected a JSON object of options", where);
    TrainConfig config;
    const Option begins = recipe_option();
    std::vector<std::string> known = option_names();
    known.push_back(begins.name);
    for (const auto& [key, value] : json.items())
        if (std::ranges::find(known, key) == known.end()) fail_unknown(where, key, known);
    nlohmann::json options = nlohmann::json::object();
    if (const auto found = json.find(begins.name); found != json.end()) {
        std::string name;
        read_option(where, begins, *found, name);
        options = recipe(name, where);
    }
    options.update(json);
    for_each_option(config, [&](const Option& option, auto& value) {
        if (const auto found = options.find(option.name); found != options.end())
            read_option(where, option, *found, value);
    });
    return spelled_out(std::move(config), where);
}

void set_option(TrainConfig& config, const std::string& name, const std::string& text,
                const std::string& where) {
    bool known = false;
    for_each_option(config, [&](const Option& option, auto& value) {
        if (option.name != name) return;
        parse_option(where, option, text, value);
        known = true;
    });
    if (!known) fail_unknown(where, name, option_names());
}

}  // namespace slimgrad
