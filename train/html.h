#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace slimgrad::html {

/// Text as it may stand in an element or an attribute.
std::string escape(std::string_view text);

/// JSON as it may stand in a script element: no '<', so nothing in it can end the element.
std::string inert(const nlohmann::json& json);

}  // namespace slimgrad::html
