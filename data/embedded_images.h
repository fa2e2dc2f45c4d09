#pragma once

#include <filesystem>

#include "data/image_data.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

/// Where the image files that ship with slimgrad are: in $SLIMGRAD_DATA_DIR if that is set, else
/// beside the Python module that holds this code, else in the source tree that the library was
/// built from, else where it was installed. Throws Error that lists the places if there are none.
std::filesystem::path find_embedded_images();

/// A subset of Fashion-MNIST from contact sheets, `train-C.png` and `test-C.png` for each class C:
/// grids of 28 x 28 tiles, greyscale, the same number in each class. Image i is tile i / 10 of
/// class i mod 10, so that every beginning of the set holds all classes equally.
ImageSplits read_embedded_images(const std::filesystem::path& directory);

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
