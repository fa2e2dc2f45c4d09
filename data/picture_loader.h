#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "data/batch.h"
#include "data/picture_resize.h"
#include "data/picture_source.h"
#include "data/sample_order.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What is taken from the values of pixels on the 0 … 1 scale, and what they are then divided by.
struct PixelScale {
    std::array<double, 3> mean, std;
    static PixelScale imagenet() { return {{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}}; }
    static PixelScale half() { return {{0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}}; }  // -1 … 1
};

/// What was said of pictures that could not be read, of each once. Safe to use from several
/// threads.
class SkippedPictures {
  public:
    void add(std::string why);
    std::set<std::string> all() const;

  private:
    mutable std::mutex mutex_;
    std::set<std::string> why_;
};

struct PictureLoaderOptions {
    std::int64_t side = 224;  // of the images that come out, in pixels
    std::int64_t batch_size = 64;
    bool shuffle = true;
    bool drop_last = true;
    bool augment = false;
    PixelScale scale = PixelScale::imagenet();
    std::uint64_t seed = 0;
    std::shared_ptr<SkippedPictures> skipped{};  // null: what cannot be read is an error
};

/// The part of a picture that an augmented sample shows: RandomResizedCrop of torchvision. Its area
/// is 8 to 100 % of the picture's, its width 3/4 to 4/3 of its height; where ten draws do not fit,
/// the middle of the picture.
Crop random_crop(std::int64_t height, std::int64_t width, Stream& stream);

/// Batches of pictures (B, 3, side, side) as a pure function of the step, like Loader. A picture is
/// resized with antialiasing: to the random part of it, mirrored half of the time, if `augment`;
/// else so that its shorter side is 8/7 of `side` (256 for 224), of which the middle is made.
/// Then x = (byte / 255 - mean) / std by channel. A picture that is skipped is replaced by the next
/// one of the set. Safe to use from several threads; copies share the source.
class PictureLoader {
  public:
    /// Throws Error if the set is smaller than one batch that must be full.
    PictureLoader(std::shared_ptr<const PictureSource> source, PictureLoaderOptions options);
    std::int64_t steps_per_epoch() const { return order_.steps_per_epoch(); }
    /// Throws Error for a negative step, and for a picture that cannot be read.
    Batch batch(std::int64_t step) const;

  private:
    /// Writes a sample, or one in its place, and returns its label.
    std::int32_t write(std::int64_t epoch, std::int64_t sample, real* x) const;
    Picture prepared(const Picture& picture, std::int64_t epoch, std::int64_t sample) const;

    std::shared_ptr<const PictureSource> source_;
    PictureLoaderOptions options_;
    SampleOrder order_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
