#include "data/image_file.h"

#include <cstdlib>
#include <memory>

#include "data/file.h"
#include "data/safetensors_header.h"
#include "tensor/error.h"

namespace {

/// What is packed in an image may unpack to any size, whatever its header says: no piece of memory
/// larger than what the largest image needs is given out.
constexpr std::size_t most_bytes = 4 * (slimgrad::most_pixels + 1024 * 1024);

void* bounded_malloc(std::size_t size) { return size <= most_bytes ? std::malloc(size) : nullptr; }
void* bounded_realloc(void* old, std::size_t size) {
    return size <= most_bytes ? std::realloc(old, size) : nullptr;
}

}  // namespace

// The one place that compiles stb_image. Its functions stay inside this file, so that a program
// that brings a copy of its own links with slimgrad.
#define STBI_MALLOC(size) bounded_malloc(size)
#define STBI_REALLOC(old, size) bounded_realloc(old, size)
#define STBI_FREE(old) std::free(old)
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#include <stb/stb_image.h>

namespace slimgrad {

GreyImage parse_grey_png(std::span<const std::uint8_t> bytes, const std::string& file) {
    require(bytes.size() <= most_bytes,
            "[data] '{}': expected an image of at most {} bytes, got {}", file, most_bytes,
            bytes.size());
    const int size = static_cast<int>(bytes.size());
    int width = 0, height = 0, channels = 0;
    const auto require_image = [&](bool good) {
        if (!good)
            fail("[data] '{}': expected a PNG image, got {} bytes that are none ({})", file,
                 bytes.size(), on_a_line(stbi_failure_reason()));  // it may quote the file
    };
    require_image(stbi_info_from_memory(bytes.data(), size, &width, &height, &channels) != 0);
    require(std::int64_t{width} * height <= most_pixels,
            "[data] '{}': expected an image of at most {} pixels, got {} x {}", file, most_pixels,
            width, height);
    require(channels == 1, "[data] '{}': expected a greyscale image of 1 channel, got {}", file,
            channels);
    const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
        stbi_load_from_memory(bytes.data(), size, &width, &height, &channels, 0), stbi_image_free);
    require_image(pixels != nullptr);
    require(channels == 1, "[data] '{}': expected a greyscale image of 1 channel, got {}", file,
            channels);
    GreyImage image{width, height, {}};
    image.pixels.assign(pixels.get(), pixels.get() + image.width * image.height);
    return image;
}

GreyImage read_grey_png(const std::filesystem::path& path) {
    return parse_grey_png(read_file(path), path.string());
}

}  // namespace slimgrad
