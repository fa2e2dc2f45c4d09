#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace slimgrad {

/// A greyscale image: height rows of width bytes.
struct GreyImage {
    std::int64_t width = 0, height = 0;
    std::vector<std::uint8_t> pixels;
};

/// Reads a PNG file that holds 8-bit greyscale. Throws Error if it is unreadable or holds colours.
GreyImage read_grey_png(const std::filesystem::path& path);

}  // namespace slimgrad
