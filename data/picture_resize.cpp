#include "data/picture_resize.h"

#include "tensor/error.h"

// The one place that compiles stb_image_resize; its functions stay inside this file.
// Version 0.97 asserts that the weights of a pixel add up to about 1 before it divides them by
// their sum, which they need not do then.
#define STBIR_ASSERT(condition) static_cast<void>(0)
#define STB_IMAGE_RESIZE_STATIC
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image_resize.h>
#pragma GCC diagnostic pop

namespace slimgrad {

Picture resized(const Picture& picture, const Crop& crop, std::int64_t height, std::int64_t width) {
    constexpr std::int64_t bytes = 3;
    require(crop.height > 0 && crop.width > 0 && crop.top >= 0 && crop.left >= 0 &&
                crop.height <= picture.height - crop.top && crop.width <= picture.width - crop.left,
            "[data] expected a part of a picture of {} x {}, got {} x {} at ({}, {})",
            picture.height, picture.width, crop.height, crop.width, crop.top, crop.left);
    require(height > 0 && width > 0 && height <= most_pixels / width,
            "[data] expected a size of 1 to {} pixels, got {} x {}", most_pixels, height, width);
    Picture result{width, height,
                   std::vector<std::uint8_t>(static_cast<std::size_t>(height * width * bytes))};
    const std::uint8_t* from =
        picture.pixels.data() + (crop.top * picture.width + crop.left) * bytes;
    const int done = stbir_resize_uint8_generic(
        from, static_cast<int>(crop.width), static_cast<int>(crop.height),
        static_cast<int>(picture.width * bytes), result.pixels.data(), static_cast<int>(width),
        static_cast<int>(height), static_cast<int>(width * bytes), bytes, STBIR_ALPHA_CHANNEL_NONE,
        0, STBIR_EDGE_CLAMP, STBIR_FILTER_TRIANGLE, STBIR_COLORSPACE_LINEAR, nullptr);
    require(done != 0, "[data] there is no memory to resize a picture of {} x {} to {} x {}",
            picture.height, picture.width, height, width);
    return result;
}

}  // namespace slimgrad
