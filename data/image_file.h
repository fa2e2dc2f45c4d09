#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace slimgrad {

/// A greyscale image: height rows of width bytes.
struct GreyImage {
    std::int64_t width = 0, height = 0;
    std::vector<std::uint8_t> pixels;
};

/// Reads a PNG file that holds 8-bit greyscale, of at most `most_pixels`. Throws Error if it is
/// unreadable or holds colours.
GreyImage read_grey_png(const std::filesystem::path& path);
/// The same of bytes in memory; `file` names them in messages.
GreyImage parse_grey_png(std::span<const std::uint8_t> bytes, const std::string& file);

/// An RGB image: height rows of width pixels of three bytes.
struct Picture {
    std::int64_t width = 0, height = 0;
    std::vector<std::uint8_t> pixels;
};

/// Reads a JPEG or PNG file as RGB: grey values three times, CMYK converted; transparency and the
/// lower bytes of 16-bit values are left out. Throws Error, one line that names the file, if it is
/// empty, damaged, of another kind, or has more than `most_pixels`.
Picture read_picture(const std::filesystem::path& path);
/// The same of bytes in memory; `file` names them in messages.
Picture parse_picture(std::span<const std::uint8_t> bytes, const std::string& file);

inline constexpr std::int64_t most_pixels = 1 << 24;
/// Throws Error for an image of more.
void require_image_size(const std::string& file, std::int64_t width, std::int64_t height);

}  // namespace slimgrad
