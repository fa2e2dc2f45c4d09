#include "data/image_data.h"

#include <algorithm>
#include <filesystem>

#include "data/cifar.h"
#include "data/embedded_images.h"
#include "data/idx.h"
#include "data/shipped.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// What is known of a data set by its name. Mean and standard deviation are of each channel of the
/// training images on the 0 … 1 scale.
struct Known {
    std::string_view name;
    ImageSplits (*read)(const std::filesystem::path&);
    std::filesystem::path (*default_directory)();
    std::vector<double> mean, std;
};

std::filesystem::path nowhere() { return {}; }
std::filesystem::path shipped_images() { return find_shipped("embedded-images"); }
std::filesystem::path debian_fashion_mnist() { return "/usr/share/datasets/fashion-mnist"; }

const std::vector<Known>& known() {
    static const std::vector<Known> table{
        // The constants of ImageNet, with which the CIFAR-10 ResNets of akamaster (the weights that
        // most people import) were trained; CIFAR-10's own are 0.491 0.482 0.447, 0.247 0.243
        // 0.262.
        {"cifar10", read_cifar10, nowhere, {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}},
        {"cifar100", read_cifar100, nowhere, {0.5071, 0.4865, 0.4409}, {0.2673, 0.2564, 0.2762}},
        {"fashion-mnist", read_fashion_mnist, debian_fashion_mnist, {0.2860}, {0.3530}},
        {"embedded-images", read_embedded_images, shipped_images, {0.2860}, {0.3530}},
    };
    return table;
}

}  // namespace

std::span<const std::uint8_t> ImageData::image(std::int64_t i) const {
    require(i >= 0 && i < size(), "[data] {}: expected an image from 0 to {}, got {}", name,
            size() - 1, i);
    return std::span(pixels).subspan(static_cast<std::size_t>(i * image_bytes()),
                                     static_cast<std::size_t>(image_bytes()));
}

void ImageData::truncate(std::int64_t limit) {
    require(limit >= 0, "[data] {}: expected a limit of at least 0 images, got {}", name, limit);
    if (limit == 0 || limit >= size()) return;
    labels.resize(static_cast<std::size_t>(limit));
    pixels.resize(static_cast<std::size_t>(limit * image_bytes()));
    pixels.shrink_to_fit();
}

void ImageData::check() const {
    require(channels > 0 && height > 0 && width > 0,
            "[data] {}: expected positive channels, height and width, got {} x {} x {}", name,
            channels, height, width);
    require(size() > 0, "[data] {}: expected at least one image, got none", name);
    require(std::ssize(pixels) == size() * image_bytes(),
            "[data] {}: expected {} bytes for {} images of {} x {} x {}, got {}", name,
            size() * image_bytes(), size(), channels, height, width, pixels.size());
    require(std::ssize(mean) == channels && std::ssize(std) == channels,
            "[data] {}: expected a mean and a standard deviation for each of {} channels, got {} "
            "and {}",
            name, channels, mean.size(), std.size());
    require(std::all_of(std.begin(), std.end(), [](double s) { return s > 0; }),
            "[data] {}: expected standard deviations above 0", name);
    for (std::int64_t i = 0; i < size(); ++i) {
        const std::int32_t label = labels[static_cast<std::size_t>(i)];
        require(label >= 0 && label < std::ssize(classes),
                "[data] {}: image {}: expected a label from 0 to {}, got {}", name, i,
                std::ssize(classes) - 1, label);
    }
}

std::vector<std::string> image_data_names() {
    std::vector<std::string> names;
    for (const Known& set : known()) names.emplace_back(set.name);
    return names;
}

ImageSplits load_images(const std::string& name, const std::string& directory) {
    const auto set = std::find_if(known().begin(), known().end(),
                                  [&](const Known& candidate) { return candidate.name == name; });
    if (set == known().end())
        fail("[data] unknown image data '{}'. Known: {}", name,
             fmt::join(image_data_names(), ", "));
    ImageSplits splits =
        set->read(directory.empty() ? set->default_directory() : std::filesystem::path(directory));
    for (ImageData* split : {&splits.train, &splits.test}) {
        split->name = name;
        split->mean = set->mean;
        split->std = set->std;
        split->check();
    }
    return splits;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
