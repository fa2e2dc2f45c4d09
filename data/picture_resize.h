#pragma once

#include "data/image_file.h"

namespace slimgrad {

/// Part of a picture, in pixels.
struct Crop {
    std::int64_t top = 0, left = 0, height = 0, width = 0;
};

/// That part at another size, bilinear, with a filter as wide as a new pixel where it becomes
/// smaller (antialiasing, as Pillow and torchvision do). Throws Error for a part that is empty or
/// not inside, and for a size that is not positive.
Picture resized(const Picture& picture, const Crop& crop, std::int64_t height, std::int64_t width);

/// A part of the whole picture at another size, which is made of it alone. Throws Error for a part
/// that is empty or not inside.
Picture part_of_resized(const Picture& picture, std::int64_t height, std::int64_t width,
                        const Crop& part);

}  // namespace slimgrad
