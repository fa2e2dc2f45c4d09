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

namespace {

constexpr std::int64_t bytes = 3;  // of a pixel

/// The part of `from` scaled to height x width that has the size of `to` and begins at row `top`
/// and column `left` of it.
void resize(const std::uint8_t* from, std::int64_t from_stride, std::int64_t from_height,
            std::int64_t from_width, std::int64_t height, std::int64_t width, std::int64_t top,
            std::int64_t left, Picture& to) {
    const auto ratio = [](std::int64_t a, std::int64_t b) {
        return static_cast<float>(static_cast<double>(a) / static_cast<double>(b));
    };
    to.pixels.resize(static_cast<std::size_t>(to.height * to.width * bytes));
    const int done = stbir_resize_subpixel(
        from, static_cast<int>(from_width), static_cast<int>(from_height),
        static_cast<int>(from_stride * bytes), to.pixels.data(), static_cast<int>(to.width),
        static_cast<int>(to.height), static_cast<int>(to.width * bytes), STBIR_TYPE_UINT8, bytes,
        STBIR_ALPHA_CHANNEL_NONE, 0, STBIR_EDGE_CLAMP, STBIR_EDGE_CLAMP, STBIR_FILTER_TRIANGLE,
        STBIR_FILTER_TRIANGLE, STBIR_COLORSPACE_LINEAR, nullptr, ratio(width, from_width),
        ratio(height, from_height), static_cast<float>(left), static_cast<float>(top));
    require(done != 0, "[data] there is no memory to resize a picture of {} x {} to {} x {}",
            from_width, from_height, width, height);
}

}  // namespace

Picture resized(const Picture& picture, const Crop& crop, std::int64_t height, std::int64_t width) {
    require(crop.height > 0 && crop.width > 0 && crop.top >= 0 && crop.left >= 0 &&
                crop.height <= picture.height - crop.top && crop.width <= picture.width - crop.left,
            "[data] expected a part of a picture of {} x {}, got {} x {} at ({}, {})",
            picture.height, picture.width, crop.height, crop.width, crop.top, crop.left);
    require(height > 0 && width > 0 && height <= most_pixels / width,
            "[data] expected a size of 1 to {} pixels, got {} x {}", most_pixels, height, width);
    Picture result{width, height, {}};
    const std::int64_t first = crop.top * picture.width + crop.left;
    resize(picture.pixels.data() + first * bytes, picture.width, crop.height, crop.width, height,
           width, 0, 0, result);
    return result;
}

Picture part_of_resized(const Picture& picture, std::int64_t height, std::int64_t width,
                        const Crop& part) {
    require(part.height > 0 && part.width > 0 && part.height <= most_pixels / part.width &&
                part.top >= 0 && part.left >= 0 && part.height <= height - part.top &&
                part.width <= width - part.left,
            "[data] expected a part of {} x {} of 1 to {} pixels, got {} x {} at ({}, {})", height,
            width, most_pixels, part.height, part.width, part.top, part.left);
    Picture result{part.width, part.height, {}};
    resize(picture.pixels.data(), picture.width, picture.height, picture.width, height, width,
           part.top, part.left, result);
    return result;
}

}  // namespace slimgrad
