#pragma once

#include "data/image_file.h"

namespace slimgrad {

/// Whether a file begins as JPEG files do.
bool is_jpeg(std::span<const std::uint8_t> bytes);

/// Decodes a JPEG file by libjpeg-turbo. Of its remarks one is passed over, as other programs do:
/// bytes between two parts that belong to neither. Throws Error, one line that names the file, for
/// any other, and for an image of more than `most_pixels`.
Picture parse_jpeg(std::span<const std::uint8_t> bytes, const std::string& file);

}  // namespace slimgrad
