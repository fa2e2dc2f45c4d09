#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Reads an array that numpy.save has written (versions 1 to 3 of the format,
/// https://numpy.org/doc/ stable/reference/generated/numpy.lib.format.html): '<f4' or '<f8', in C
/// or Fortran order, with at least one dimension. Values become `real`. Throws Error, one line that
/// names the file, the place in it and what was expected.
Tensor load_npy(const std::filesystem::path& path);

/// The same of bytes in memory; `file` names them in messages.
Tensor parse_npy(std::span<const std::uint8_t> bytes, const std::string& file);

/// Writes an array as version 1, '<f4' or '<f8' as `real` is, as a whole or not at all.
void save_npy(const std::filesystem::path& path, const Tensor& tensor);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
