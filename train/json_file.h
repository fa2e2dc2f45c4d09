#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "tensor/option.h"

namespace slimgrad {

/// JSON that people write. Beside mistakes of form, a key that stands twice in one object, numbers
/// that no type holds and nesting that no file of ours has are refused: parsers take the last of
/// two equal keys without a word. Throws Error that begins with `where` and tells the byte.
nlohmann::json parse_json(std::string_view text, const std::string& where);

/// Reads a JSON file. Throws Error that names the file and the place of the mistake.
nlohmann::json read_json(const std::filesystem::path& file);

/// Throws Error: what the option may be, and what came instead.
[[noreturn]] void refuse_json(const std::string& where, const Option& option,
                              const nlohmann::json& got);
/// A whole number in the option's range, taken as it is written: a type that is too small for it
/// would wrap it. Throws Error for anything else.
std::int64_t read_integer(const std::string& where, const Option& option,
                          const nlohmann::json& value);

}  // namespace slimgrad
