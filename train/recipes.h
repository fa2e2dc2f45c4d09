#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "tensor/option.h"

namespace slimgrad {

/// `recipe`: a name that stands for options as a paper has them. What is given beside it comes
/// first. A run keeps the options and not the name.
Option recipe_option();

/// The options of a recipe by name, as in a file of options. Throws Error, one line that begins
/// with `where`, for another name, and lists the known ones.
nlohmann::json recipe(const std::string& name, const std::string& where);

}  // namespace slimgrad
