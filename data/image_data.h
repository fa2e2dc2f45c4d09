#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A labelled set of images of one size, as bytes in memory: (N, C, H, W), planes row-major.
struct ImageData {
    std::string name;
    std::int64_t channels = 0, height = 0, width = 0;
    std::vector<std::string> classes;  // names, in the order of the labels
    std::vector<std::uint8_t> pixels;
    std::vector<std::int32_t> labels;  // 0 … classes.size() - 1
    std::vector<double> mean, std;     // of each channel on the 0 … 1 scale, for normalisation

    std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
    std::int64_t image_bytes() const { return channels * height * width; }
    std::span<const std::uint8_t> image(std::int64_t i) const;
    /// Keeps the first `limit` images; 0 keeps all.
    void truncate(std::int64_t limit);
    /// Throws Error unless sizes, labels, mean and std fit together and there is an image.
    void check() const;
};

struct ImageSplits {
    ImageData train, test;
};

/// The data sets that load_images knows.
std::vector<std::string> image_data_names();
/// Reads a data set from `directory`: "cifar10", "cifar100", "fashion-mnist" (by default where the
/// Debian package puts it) or "embedded-images" (by default the files that ship with slimgrad).
/// Throws Error that names the file, the place in it and what was expected.
ImageSplits load_images(const std::string& name, const std::string& directory);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
