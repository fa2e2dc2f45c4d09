#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <type_traits>

#include "data/image_data.h"
#include "data/text_data.h"
#include "nn/models/bert_config.h"
#include "nn/models/model.h"
#include "tensor/error.h"
#include "train/run_directory.h"

namespace slimgrad::cli {
namespace {

/// The words that an option may be, for its help; empty where they are not a list.
std::vector<std::string> words(const std::string& name) {
    const auto both = [](std::vector<std::string> images, const std::vector<std::string>& texts) {
        images.insert(images.end(), texts.begin(), texts.end());
        return images;
    };
    if (name == "data") return both(image_data_names(), text_data_names());
    if (name == "model") return both(model_names(), text_model_names());
    if (name == "method") return method_names();
    if (name == "optimizer") return optimizer_names();
    if (name == "schedule") return schedule_names();
    return {};
}

}  // namespace

std::string flag(const std::string& name) {
    std::string flag = "--" + name;
    std::ranges::replace(flag, '_', '-');
    return flag;
}

RunOptions::RunOptions(CLI::App& command, const std::set<std::string>& names, Pick pick) {
    command.add_option("--config", file_, "JSON file of options; those given here come first");
    for_each_option(parsed_, [&](const char* name, auto& value, const char* what) {
        if (names.contains(name) == (pick == Pick::all_but)) return;
        std::string help = what;
        if (const auto known = words(name); !known.empty())
            help += fmt::format(" ({})", fmt::join(known, ", "));
        using T = std::remove_cvref_t<decltype(value)>;
        if constexpr (std::is_same_v<T, bool>)
            options_[name] = command.add_flag(flag(name), value, help);
        else if constexpr (std::is_same_v<T, std::optional<std::int64_t>> ||
                           std::is_same_v<T, std::optional<double>>)
            options_[name] = command.add_option(flag(name), value, help);
        else
            options_[name] = command.add_option(flag(name), value, help)->capture_default_str();
    });
}

TrainConfig RunOptions::config_over(const std::string& file) const {
    if (file.empty()) return parsed_;
    nlohmann::json json = read_json(file);
    config_from_json(json, file);
    const nlohmann::json overrides = to_json(parsed_);
    for (const auto& [name, option] : options_)
        if (option->count() > 0) json[name] = overrides.at(name);
    return config_from_json(json, file);
}

std::vector<std::string> RunOptions::given() const {
    std::vector<std::string> given;
    if (!file_.empty()) given.emplace_back("--config");
    for (const auto& [name, option] : options_)
        if (option->count() > 0) given.push_back(flag(name));
    return given;
}

std::vector<std::string> arguments(const TrainConfig& config) {
    std::vector<std::string> result;
    const nlohmann::json json = to_json(config);
    for (const auto& [name, value] : json.items()) {
        if (value.is_boolean()) {
            if (value.get<bool>()) result.push_back(flag(name));
        } else if (!value.is_string() || !value.get<std::string>().empty()) {
            result.push_back(flag(name));
            result.push_back(value.is_string() ? value.get<std::string>() : value.dump());
        }
    }
    return result;
}

std::vector<std::string> split_list(const std::string& option, const std::string& list) {
    std::vector<std::string> parts;
    std::istringstream stream(list);
    for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
    require(!parts.empty() && list.back() != ',' && std::ranges::find(parts, "") == parts.end(),
            "[{}] expected words with commas between them, got '{}'", option, list);
    return parts;
}

}  // namespace slimgrad::cli
