#include "cli/method_spec.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <type_traits>
#include <utility>
#include <vector>

#include "tensor/error.h"

namespace slimgrad::cli {
namespace {

/// "method:a=1:b=last:1" in method, a=1, b=last:1: a part without "=" goes on with the one before.
std::vector<std::string> parts_of(const std::string& spec) {
    std::vector<std::string> parts;
    std::istringstream stream(spec);
    for (std::string part; std::getline(stream, part, ':');)
        if (parts.size() > 1 && part.find('=') == std::string::npos)
            parts.back() += ':' + part;
        else
            parts.push_back(part);
    return parts;
}

bool is_text_option(const std::string& name) {
    bool is_text = false;
    const TrainConfig config;
    for_each_option(config, [&](const char* known, const auto& value, const char*) {
        using T = std::remove_cvref_t<decltype(value)>;
        if (name == known) is_text = std::is_same_v<T, std::string>;
    });
    return is_text;
}

}  // namespace

TrainConfig with_method(const TrainConfig& base, const std::string& spec) {
    const std::string source = fmt::format("--methods '{}'", spec);
    const std::vector<std::string> parts = parts_of(spec);
    nlohmann::json json = to_json(base);
    json["method"] = parts.front();
    for (std::size_t i = 1; i < parts.size(); ++i) {
        const std::size_t equals = parts[i].find('=');
        require(equals != std::string::npos && equals > 0,
                "[config] {}: expected option=value after the method, got '{}'", source, parts[i]);
        std::string name = parts[i].substr(0, equals);
        std::ranges::replace(name, '-', '_');
        require(name != "seed" && name != "out" && name != "method",
                "[config] {}: '{}' is not for a method to choose", source, name);
        const std::string value = parts[i].substr(equals + 1);
        const auto parsed = nlohmann::json::parse(value, nullptr, /*allow_exceptions=*/false);
        json[name] = is_text_option(name) || parsed.is_discarded() ? nlohmann::json(value) : parsed;
    }
    return config_from_json(json, source);
}

std::string file_name(std::string spec) {
    std::ranges::replace(spec, ':', '-');
    std::ranges::replace(spec, '/', '-');
    return spec;
}

}  // namespace slimgrad::cli
