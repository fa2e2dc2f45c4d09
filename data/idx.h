#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/image_data.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

/// An array of bytes as an IDX file holds it.
struct IdxArray {
    std::vector<std::int64_t> shape;
    std::vector<std::uint8_t> values;
};

/// Reads an IDX file of unsigned bytes, plain or gzip'd: two zero bytes, 0x08, the number of
/// dimensions, each dimension as a big-endian 32-bit number, then the values
/// (http://yann.lecun.com/exdb/mnist/). Throws Error that names the file and the byte.
IdxArray read_idx(const std::filesystem::path& file, std::int64_t dimensions);

/// Fashion-MNIST, or any set with its file names, image size and number of classes.
ImageSplits read_fashion_mnist(const std::filesystem::path& directory);

/// The names of its ten classes.
std::vector<std::string> fashion_mnist_classes();

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
