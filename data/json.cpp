#include "data/json.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tensor/error.h"
#include "tensor/option.h"

namespace slimgrad {
namespace {

using nlohmann::json;

/// Looks through a text and throws Error at what is wrong with it. (A filter on json::parse would
/// do the same, in a time that grows with the square of the number of keys.)
class Inspector final : public nlohmann::json_sax<json> {
  public:
    explicit Inspector(std::string_view where) : where_(where) {}

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t value, const string_t& token) override {
        const std::string_view digits =
            std::string_view(token).substr(0, token.find_first_of("eE"));
        const bool zero = digits.find_first_of("123456789") == digits.npos;
        require(value != 0 || zero, "{} has a number that is too small: {}", where_, shown(token));
        return true;
    }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override { return start(); }
    bool start_array(std::size_t) override { return start(); }
    bool end_object() override { return end(); }
    bool end_array() override { return end(); }

    bool key(string_t& key) override {
        require(keys_.back().insert(key).second, "{} has the key {} twice", where_, shown(key));
        return true;
    }
    bool parse_error(std::size_t position, const std::string& token,
                     const json::exception& error) override {
        const bool number = dynamic_cast<const json::out_of_range*>(&error) != nullptr;
        require(!number, "{} has a number that is too large: {}", where_, shown(token));
        fail("{} is not valid JSON: mistake at byte {}", where_, position);
    }

  private:
    bool start() {
        constexpr std::size_t deepest = 64;
        require(keys_.size() < deepest, "{} is nested more than {} levels deep", where_, deepest);
        keys_.emplace_back();
        return true;
    }
    bool end() {
        keys_.pop_back();
        return true;
    }

    std::string_view where_;
    std::vector<std::set<std::string>> keys_;  // of the objects that are open
};

}  // namespace

json parse_json(std::string_view text, std::string_view where) {
    Inspector inspector(where);
    json::sax_parse(text, &inspector);
    return json::parse(text);
}

std::string shown_json(const json& value) {
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
    fail("{}: expected {} as \"{}\"{}, got {}", where_, expected, key, of_, shown_json(value));
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
