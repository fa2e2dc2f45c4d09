#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace slimgrad::html {

/// Text as it may stand in an element or an attribute.
std::string escape(std::string_view text);

/// JSON as it may stand in a script element: no '<', so nothing in it can end the element.
std::string inert(const nlohmann::json& json);

/// How every page of slimgrad begins, up to its title.
inline constexpr std::string_view page_begin =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
    "<title>slimgrad: ";

/// Throws Error if a file is there that is no page of slimgrad, nor empty: it would be replaced.
void require_replaceable(const std::filesystem::path& file);

}  // namespace slimgrad::html
