#pragma once

#include <filesystem>

#include "data/image_data.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A subset of Fashion-MNIST from contact sheets, `train-C.png` and `test-C.png` for each class C:
/// grids of 28 x 28 tiles, greyscale, the same number in each class. Image i is tile i / 10 of
/// class i mod 10, so that every beginning of the set holds all classes equally.
ImageSplits read_embedded_images(const std::filesystem::path& directory);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
