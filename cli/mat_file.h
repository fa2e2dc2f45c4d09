#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace slimgrad::cli {

/// The matrices of whole numbers in a MATLAB 5 file, by name, each in the order of its memory.
/// Throws Error, one line, if it is damaged or holds anything else.
std::map<std::string, std::vector<std::int64_t>> read_mat(const std::filesystem::path& file);

}  // namespace slimgrad::cli
