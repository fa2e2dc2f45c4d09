#include "data/embedded_images.h"

#include <algorithm>
#include <string>

#include "data/idx.h"
#include "data/image_file.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t side = 28;

/// Copies tile `index` of a sheet, counted row by row, to `target`.
void copy_tile(const GreyImage& sheet, std::int64_t index, std::uint8_t* target) {
    const std::int64_t columns = sheet.width / side;
    const std::int64_t top = index / columns * side, left = index % columns * side;
    for (std::int64_t row = 0; row < side; ++row)
        std::copy_n(sheet.pixels.begin() + (top + row) * sheet.width + left, side,
                    target + row * side);
}

ImageData read_split(const fs::path& directory, const std::string& split) {
    ImageData data;
    data.channels = 1;
    data.height = data.width = side;
    data.classes = fashion_mnist_classes();
    const std::int64_t classes = std::ssize(data.classes);
    std::int64_t tiles = 0;
    for (std::int64_t label = 0; label < classes; ++label) {
        const fs::path file = directory / fmt::format("{}-{}.png", split, label);
        const GreyImage sheet = read_grey_png(file);
        require(sheet.width % side == 0 && sheet.height % side == 0,
                "[data] '{}': expected a grid of {} x {} tiles, got an image of {} x {}",
                file.string(), side, side, sheet.width, sheet.height);
        const std::int64_t found = (sheet.width / side) * (sheet.height / side);
        if (label == 0) {
            tiles = found;
            data.pixels.resize(static_cast<std::size_t>(classes * tiles * data.image_bytes()));
            data.labels.resize(static_cast<std::size_t>(classes * tiles));
        }
        require(found == tiles, "[data] '{}': expected {} tiles as in the first class, got {}",
                file.string(), tiles, found);
        for (std::int64_t tile = 0; tile < tiles; ++tile) {
            const std::int64_t i = tile * classes + label;
            copy_tile(sheet, tile, data.pixels.data() + i * data.image_bytes());
            data.labels[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(label);
        }
    }
    return data;
}

}  // namespace

ImageSplits read_embedded_images(const fs::path& directory) {
    return {read_split(directory, "train"), read_split(directory, "test")};
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
