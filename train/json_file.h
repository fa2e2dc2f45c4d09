#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "tensor/option.h"

namespace slimgrad {

/// Reads a JSON file as parse_json does. Throws Error that names the file.
nlohmann::json read_json(const std::filesystem::path& file);

/// The same for a look at a file that may be anything: null if it is no file or not in JSON.
nlohmann::json json_or_nothing(const std::filesystem::path& file);

/// Throws Error: what the option may be, and what came instead.
[[noreturn]] void refuse_json(const std::string& where, const Option& option,
                              const nlohmann::json& got);
/// A whole number in the option's range, taken as it is written: a type that is too small for it
/// would wrap it. Throws Error for anything else.
std::int64_t read_integer(const std::string& where, const Option& option,
                          const nlohmann::json& value);

}  // namespace slimgrad
