#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace slimgrad {

/// One JSON document as text, for a file or for standard output. What is not UTF-8, as names of
/// files may be, becomes the sign for it, U+FFFD.
std::string json_text(const nlohmann::json& document);

}  // namespace slimgrad
