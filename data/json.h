#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace slimgrad {

/// Reads JSON that somebody may have written by hand. Throws Error, one line that begins with
/// `where`, for a text that is none (it tells the byte), for a number that no double holds, for a
/// key that stands twice in one object, and for nesting deeper than 64: what is done with a value,
/// printing it for one, takes a frame of the stack for each level.
nlohmann::json parse_json(std::string_view text, std::string_view where);

/// A value as it may stand in a message: on one line, in ASCII, cut if it is long.
std::string shown_json(const nlohmann::json& value);

/// The integer from 0 to `most` that a value is; nothing if it is another.
std::optional<std::int64_t> natural(const nlohmann::json& value, std::int64_t most);

/// Reads the values of one JSON object. What it throws names the place and the key, what was
/// expected there and what came. A key whose value is null counts as absent.
class JsonObject {
  public:
    /// Messages begin with `where` and say "of "name"" if there is a name. Throws Error if the
    /// value is no object. `value` must outlive this.
    JsonObject(const nlohmann::json& value, std::string where, std::string name = {});

    /// Null for a key that is absent.
    const nlohmann::json* find(const char* key) const;
    /// The object under a key, which must be there.
    JsonObject object(const char* key) const;

    std::string text(const char* key, const std::string& otherwise) const;
    bool flag(const char* key, bool otherwise) const;
    double number(const char* key, double otherwise) const;
    /// Throws Error, too, if the key is absent and there is nothing to take instead.
    std::int64_t integer(const char* key, std::optional<std::int64_t> otherwise = {}) const;

    const std::string& where() const { return where_; }

  private:
    [[noreturn]] void wrong(const char* expected, const char* key,
                            const nlohmann::json& value) const;

    const nlohmann::json* value_;
    std::string where_, of_;
};

}  // namespace slimgrad
