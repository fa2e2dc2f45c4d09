#pragma once

#include <filesystem>
#include <string>

namespace slimgrad {

/// Where a folder of data that ships with slimgrad is: in $SLIMGRAD_DATA_DIR if that is set, else
/// beside the Python module that holds this code, else in the source tree that the library was
/// built from, else where it was installed. Throws Error that lists the places if it is in none.
std::filesystem::path find_shipped(const std::string& folder);

}  // namespace slimgrad
