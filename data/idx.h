#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/image_data.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// An array of bytes as an IDX file holds it.
struct IdxArray {
    std::vector<std::int64_t> shape;
    std::vector<std::uint8_t> values;
};

/// Reads an IDX file of unsigned bytes, plain or gzip'd: two zero bytes, 0x08, the number of
/// dimensions, each dimension as a big-endian 32-bit number, then the values
/// (http://yann.lecun.com/exdb/mnist/). No more is unpacked than the header states, and no file
/// that states more than `most_idx_bytes`, or more than 32 times its own size and a megabyte, is
/// read at all: images do not pack so well. Throws Error that names the file and the byte.
IdxArray read_idx(const std::filesystem::path& file, std::int64_t dimensions);
/// The same of bytes in memory; `file` names them in messages.
IdxArray parse_idx(std::span<const std::uint8_t> bytes, const std::string& file,
                   std::int64_t dimensions);

inline constexpr std::int64_t most_idx_bytes = std::int64_t{1} << 30;

/// Fashion-MNIST, or any set with its file names, image size and number of classes.
ImageSplits read_fashion_mnist(const std::filesystem::path& directory);

/// The names of its ten classes.
std::vector<std::string> fashion_mnist_classes();

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
