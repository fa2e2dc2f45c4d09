#include "data/embedded_images.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <system_error>
#include <vector>

#include "data/idx.h"
#include "data/image_file.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
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

std::vector<fs::path> places() {
    if (const char* const chosen = std::getenv("SLIMGRAD_DATA_DIR"); chosen && *chosen)
        return {chosen};
    std::vector<fs::path> found;
    // In the Python package the data lie beside the module that holds this code.
    Dl_info code{};
    if (dladdr(reinterpret_cast<const void*>(&find_embedded_images), &code) != 0 && code.dli_fname)
        found.push_back(fs::path(code.dli_fname).parent_path() / "share" / "slimgrad");
    found.insert(found.end(), {SLIMGRAD_SOURCE_DATA_DIR, SLIMGRAD_INSTALL_DATA_DIR});
    // An installation that was moved as a whole: <prefix>/bin/slimgrad, <prefix>/share/slimgrad.
    std::error_code none;
    const fs::path program = fs::read_symlink("/proc/self/exe", none);
    if (!none) found.push_back(program.parent_path().parent_path() / "share" / "slimgrad");
    return found;
}

}  // namespace

fs::path find_embedded_images() {
    std::string looked;
    for (const fs::path& place : places()) {
        fs::path directory = place / "embedded-images";
        std::error_code none;
        if (fs::is_directory(directory, none)) return directory;
        looked += fmt::format("{}'{}'", looked.empty() ? "" : ", ", directory.string());
    }
    fail(
        "[data] the images that ship with slimgrad are missing, looked in {}. Hint: set "
        "SLIMGRAD_DATA_DIR to the folder that holds 'embedded-images'",
        looked);
}

ImageSplits read_embedded_images(const fs::path& directory) {
    return {read_split(directory, "train"), read_split(directory, "test")};
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
