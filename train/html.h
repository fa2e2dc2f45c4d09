#pragma once

#include <string>
#include <string_view>

namespace slimgrad::html {

/// Text as it may stand in an element or an attribute.
std::string escape(std::string_view text);

}  // namespace slimgrad::html
