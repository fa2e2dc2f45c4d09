#include "data/json.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "tensor/error.h"

namespace slimgrad {
namespace {

using nlohmann::json;

/// How many objects and lists are open at once at most.
std::int64_t depth_of(std::string_view text) {
    std::int64_t depth = 0, deepest = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted && c == '\\')
            ++i;  // what follows belongs to the string
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            deepest = std::max(deepest, ++depth);
        else if (!quoted && (c == '}' || c == ']'))
            --depth;
    }
    return deepest;
}

}  // namespace

json parse_json(std::string_view text, std::string_view where) {
    constexpr std::int64_t most = 100;
    require(depth_of(text) <= most, "{}: expected JSON, got values nested more than {} deep", where,
            most);
    try {
        return json::parse(text);
    } catch (const json::parse_error& error) {
        fail("{}: expected JSON, it cannot be read at byte {}", where, error.byte);
    } catch (const json::exception&) {
        fail("{}: expected JSON with numbers in range", where);
    }
}

std::string shown(const json& value) {
    constexpr std::size_t longest = 60;
    std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
    return text.size() <= longest ? text : text.substr(0, longest) + "...";
}

std::optional<std::int64_t> natural(const json& value, std::int64_t most) {
    if (!value.is_number_unsigned()) return std::nullopt;
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(most)) return std::nullopt;
    return static_cast<std::int64_t>(number);
}

JsonObject::JsonObject(const json& value, std::string where, std::string name)
    : value_(&value),
      where_(std::move(where)),
      of_(name.empty() ? "" : fmt::format(" of \"{}\"", name)) {
    require(value.is_object(), "{}: expected an object{}, got {}", where_,
            name.empty() ? "" : fmt::format(" \"{}\"", name), value.type_name());
}

void JsonObject::wrong(const char* expected, const char* key, const json& value) const {
    fail("{}: expected {} as \"{}\"{}, got {}", where_, expected, key, of_, shown(value));
}

const json* JsonObject::find(const char* key) const {
    const auto found = value_->find(key);
    return found == value_->end() || found->is_null() ? nullptr : &*found;
}

JsonObject JsonObject::object(const char* key) const {
    const json* const value = find(key);
    require(value, "{}: expected an object \"{}\"{}", where_, key, of_);
    return {*value, where_, key};
}

std::string JsonObject::text(const char* key, const std::string& otherwise) const {
    const json* const value = find(key);
    if (!value) return otherwise;
    if (!value->is_string()) wrong("a text", key, *value);
    return value->get<std::string>();
}

bool JsonObject::flag(const char* key, bool otherwise) const {
    const json* const value = find(key);
    if (!value) return otherwise;
    if (!value->is_boolean()) wrong("true or false", key, *value);
    return value->get<bool>();
}

double JsonObject::number(const char* key, double otherwise) const {
    const json* const value = find(key);
    if (!value) return otherwise;
    if (!value->is_number()) wrong("a number", key, *value);
    return value->get<double>();
}

std::int64_t JsonObject::integer(const char* key, std::optional<std::int64_t> otherwise) const {
    const json* const value = find(key);
    require(value || otherwise, "{}: expected the key \"{}\"{}", where_, key, of_);
    if (!value) return *otherwise;
    // Above 2^63 - 1 an unsigned number would come out negative.
    const bool fits = value->is_number_unsigned()
                          ? natural(*value, std::numeric_limits<std::int64_t>::max()).has_value()
                          : value->is_number_integer();
    if (!fits) wrong("a whole number", key, *value);
    return value->get<std::int64_t>();
}

}  // namespace slimgrad
