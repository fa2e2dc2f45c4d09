#include "data/picture_loader.h"

#include <algorithm>
#include <cmath>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// Where the middle part of a length begins; between two places at the even one, as torchvision
/// rounds.
std::int64_t middle(std::int64_t length, std::int64_t part) {
    const std::int64_t rest = length - part, half = rest / 2;
    return half + (rest % 2) * (half % 2);
}

void mirror(Picture& picture) {
    for (std::int64_t row = 0; row < picture.height; ++row) {
        std::uint8_t* pixels = picture.pixels.data() + 3 * row * picture.width;
        for (std::int64_t left = 0, right = picture.width - 1; left < right; ++left, --right)
            std::swap_ranges(pixels + 3 * left, pixels + 3 * left + 3, pixels + 3 * right);
    }
}

}  // namespace

void SkippedPictures::add(std::string why) {
    const std::lock_guard lock(mutex_);
    why_.insert(std::move(why));
}

std::set<std::string> SkippedPictures::all() const {
    const std::lock_guard lock(mutex_);
    return why_;
}

Crop random_crop(std::int64_t height, std::int64_t width, Stream& stream) {
    const double area = static_cast<double>(height) * static_cast<double>(width);
    const double widest = std::log(4.0 / 3);
    for (int i = 0; i < 10; ++i) {
        const double part = area * (0.08 + 0.92 * static_cast<double>(stream.uniform()));
        const double ratio = std::exp(widest * (2 * static_cast<double>(stream.uniform()) - 1));
        const auto w = static_cast<std::int64_t>(std::lround(std::sqrt(part * ratio)));
        const auto h = static_cast<std::int64_t>(std::lround(std::sqrt(part / ratio)));
        if (w < 1 || h < 1 || w > width || h > height) continue;
        const std::int64_t top = stream.below(static_cast<std::uint32_t>(height - h + 1));
        const std::int64_t left = stream.below(static_cast<std::uint32_t>(width - w + 1));
        return {top, left, h, w};
    }
    const auto third = [](std::int64_t side) {  // 4/3 of it
        return static_cast<std::int64_t>(std::lround(static_cast<double>(side) * 4 / 3));
    };
    const std::int64_t h = std::min(height, third(width)), w = std::min(width, third(height));
    return {(height - h) / 2, (width - w) / 2, h, w};
}

PictureLoader::PictureLoader(std::shared_ptr<const PictureSource> source,
                             PictureLoaderOptions options)
    : source_(std::move(source)),
      options_(std::move(options)),
      order_(source_->size(),
             {options_.batch_size, options_.shuffle, options_.drop_last, options_.seed},
             source_->name()) {
    constexpr std::int64_t most_side = 4096;
    require(options_.side >= 1 && options_.side <= most_side,
            "[loader] expected images of 1 to {} pixels a side, got {}", most_side, options_.side);
}

Picture PictureLoader::prepared(const Picture& picture, std::int64_t epoch,
                                std::int64_t sample) const {
    const std::int64_t side = options_.side;
    if (!options_.augment) {
        const std::int64_t shorter = std::min(picture.height, picture.width);
        const std::int64_t target = (side * 8 + 6) / 7;
        const auto scaled = [&](std::int64_t length) { return length * target / shorter; };
        const std::int64_t height = scaled(picture.height), width = scaled(picture.width);
        return part_of_resized(picture, height, width,
                               {middle(height, side), middle(width, side), side, side});
    }
    Stream stream(options_.seed, "augment", static_cast<std::uint64_t>(epoch),
                  static_cast<std::uint32_t>(sample));
    const Crop crop = random_crop(picture.height, picture.width, stream);
    Picture image = resized(picture, crop, side, side);
    if (stream.below(2) == 1) mirror(image);
    return image;
}

std::int32_t PictureLoader::write(std::int64_t epoch, std::int64_t sample, real* x) const {
    const std::int64_t all = source_->size();
    for (std::int64_t i = sample, tries = 0;; i = (i + 1) % all) {
        try {
            const Picture image = prepared(source_->picture(i), epoch, i);
            const std::int64_t pixels = options_.side * options_.side;
            for (std::size_t c = 0; c < 3; ++c) {
                const double scale = 1 / (255 * options_.scale.std[c]);
                const double shift = options_.scale.mean[c] / options_.scale.std[c];
                const std::uint8_t* from = image.pixels.data() + c;
                for (std::int64_t p = 0; p < pixels; ++p)
                    *x++ = static_cast<real>(from[3 * p] * scale - shift);
            }
            return source_->labels()[static_cast<std::size_t>(i)];
        } catch (const Error& error) {
            if (!options_.skipped) throw;
            options_.skipped->add(error.what());
            require(++tries < all, "[data] {}: none of {} pictures can be read. The last: {}",
                    source_->name(), all, error.what());
        }
    }
}

Batch PictureLoader::batch(std::int64_t step) const {
    Batch batch;
    batch.indices = order_.samples(step);
    batch.step = step;
    batch.x = Tensor({std::ssize(batch.indices), 3, options_.side, options_.side});
    real* x = batch.x.data();
    for (const std::int64_t sample : batch.indices) {
        batch.labels.push_back(write(order_.epoch(step), sample, x));
        x += 3 * options_.side * options_.side;
    }
    return batch;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
