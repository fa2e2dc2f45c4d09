#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>

#include "tensor/option.h"
#include "train/json_file.h"

namespace slimgrad {

/// Reads the value of an option. Throws Error that begins with `where` for a value of another type
/// or out of range.
template <class T>
void read_option(const std::string& where, const Option& option, const nlohmann::json& json,
                 T& value) {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        value = static_cast<T>(read_integer(where, option, json));
    } else {
        const bool fits = std::is_same_v<T, bool>     ? json.is_boolean()
                          : std::is_same_v<T, double> ? json.is_number()
                                                      : json.is_string();
        if (!fits) refuse_json(where, option, json);
        value = json.get<T>();
        check_option(where, option, value);
    }
}
template <class T>
void read_option(const std::string& where, const Option& option, const nlohmann::json& json,
                 std::optional<T>& value) {
    read_option(where, option, json, value.emplace());
}
inline void read_option(const std::string& where, const Option& option, const nlohmann::json& json,
                        OptionValue& value) {
    if (std::holds_alternative<Integers>(option.range))
        read_option(where, option, json, value.emplace<std::int64_t>());
    else if (std::holds_alternative<Reals>(option.range))
        read_option(where, option, json, value.emplace<double>());
    else if (std::holds_alternative<YesNo>(option.range))
        read_option(where, option, json, value.emplace<bool>());
    else if (std::holds_alternative<Words>(option.range) && json.is_number_integer())
        read_option(where, option, nlohmann::json(json.dump()), value.emplace<std::string>());
    else
        read_option(where, option, json, value.emplace<std::string>());
}

/// The value as JSON; null if there is none.
template <class T>
void write_option(nlohmann::json& json, const T& value) {
    json = value;
}
template <class T>
void write_option(nlohmann::json& json, const std::optional<T>& value) {
    if (value) json = *value;
}
inline void write_option(nlohmann::json& json, const OptionValue& value) {
    std::visit(
        [&](const auto& v) {
            if constexpr (!std::is_same_v<std::remove_cvref_t<decltype(v)>, std::monostate>)
                json = v;
        },
        value);
}

}  // namespace slimgrad
