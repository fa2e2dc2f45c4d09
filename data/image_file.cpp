#include "data/image_file.h"

#include <limits>
#include <memory>

#include "data/file.h"
#include "tensor/error.h"

// The one place that compiles stb_image. Its functions stay inside this file, so that a program
// that brings a copy of its own links with slimgrad.
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#include <stb/stb_image.h>

namespace slimgrad {

GreyImage read_grey_png(const std::filesystem::path& path) {
    const std::vector<std::uint8_t> bytes = read_file(path);
    require(bytes.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()),
            "[data] '{}': expected an image of less than 2 GiB", path.string());
    int width = 0, height = 0, channels = 0;
    const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
        stbi_load_from_memory(bytes.data(), static_cast<int>(bytes.size()), &width, &height,
                              &channels, 0),
        stbi_image_free);
    if (!pixels)
        fail("[data] '{}': expected a PNG image, got {} bytes that are none ({})", path.string(),
             bytes.size(), stbi_failure_reason());
    require(channels == 1, "[data] '{}': expected a greyscale image of 1 channel, got {}",
            path.string(), channels);
    GreyImage image{width, height, {}};
    image.pixels.assign(pixels.get(), pixels.get() + image.width * image.height);
    return image;
}

}  // namespace slimgrad
