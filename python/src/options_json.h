#pragma once

#include <nanobind/nanobind.h>

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace slimgrad::runs {

/// Options given from Python as JSON. That has no type of its own for paths and for numbers of
/// NumPy: they have been turned into words and numbers before. Throws Error, in the name of
/// `place`, for a value of another type.
nlohmann::json options_json(const std::string& place, const nanobind::dict& options);

}  // namespace slimgrad::runs
