#pragma once

#include <cstdint>
#include <filesystem>

#include "data/image_data.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// How a CIFAR file lays out its records: label bytes, then 1024 red, 1024 green and 1024 blue.
struct CifarLayout {
    std::int64_t coarse_classes;  // of a first label byte that is checked but not used; 0: none
    std::int64_t classes;         // of the label byte that is used
    std::int64_t record_bytes() const { return (coarse_classes > 0 ? 2 : 1) + 3 * 32 * 32; }
};
inline constexpr CifarLayout cifar10_layout{0, 10};
inline constexpr CifarLayout cifar100_layout{20, 100};

/// Appends the `records` records of a file with these bytes to `data`. Throws Error that names the
/// file and the byte if it is shorter or longer than that, or the record whose label is out of
/// range.
void append_cifar(ImageData& data, std::span<const std::uint8_t> bytes, const std::string& file,
                  const CifarLayout& layout, std::int64_t records);
void append_cifar_file(ImageData& data, const std::filesystem::path& file,
                       const CifarLayout& layout, std::int64_t records);

/// The binary versions of CIFAR-10 and CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar.html) from
/// the directory that their archives unpack to, or the one that holds it.
ImageSplits read_cifar10(const std::filesystem::path& directory);
ImageSplits read_cifar100(const std::filesystem::path& directory);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
