#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/image_data.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

struct Batch {
    Tensor x;                           // (B, C, H, W), normalised
    std::vector<std::int32_t> labels;   // B of them
    std::vector<std::int64_t> indices;  // which samples of the data set these are
    std::int64_t step = 0;

    std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
    /// Samples [begin, begin + count), sharing the values of x. Throws Error if there are fewer.
    Batch part(std::int64_t begin, std::int64_t count) const;
};

/// 64 bits that stand for the values and the labels of a batch: two runs that log the same ones
/// have seen the same batches, to the last bit.
std::uint64_t digest(const Batch& batch);

struct LoaderOptions {
    std::int64_t batch_size = 128;
    bool shuffle = true;
    bool drop_last =
        true;              // leave out the samples that do not fill a batch; another set each epoch
    bool augment = false;  // pad by an eighth of the side (4 of 32 or 28), crop, and flip
    bool flip = true;      // as part of augment; not for images of writing
    std::uint64_t seed = 0;
};

/// Batches as a pure function of the step: step s is batch s mod steps_per_epoch of epoch
/// s / steps_per_epoch, whose order and augmentation are drawn from streams of (seed, epoch) and
/// (seed, epoch, sample). So a run can be resumed at any step, and a calibration can read ahead,
/// without any state to save. Safe to use from several threads; copies share the images.
///
/// Augmentation is the customary one for small images: zeros around the bytes (before they are
/// normalised, so the border is black), a random window of the original size, and a mirror image
/// half of the time. Then x = (byte / 255 - mean) / std by channel.
class Loader {
  public:
    /// Throws Error if the data set is inconsistent or smaller than one batch that must be full.
    Loader(std::shared_ptr<const ImageData> data, LoaderOptions options);
    std::int64_t steps_per_epoch() const;
    const ImageData& data() const { return *data_; }
    const LoaderOptions& options() const { return options_; }
    /// Throws Error for a negative step.
    Batch batch(std::int64_t step) const;

  private:
    using Order = std::vector<std::int64_t>;
    struct Cache;

    std::shared_ptr<const Order> order(std::int64_t epoch) const;
    void write_image(std::int64_t epoch, std::int64_t sample, real* x) const;

    std::shared_ptr<const ImageData> data_;
    LoaderOptions options_;
    std::vector<real> normalised_;  // (C, 256): the value of each byte in each channel
    std::shared_ptr<Cache> cache_;  // the orders of the last two epochs that were asked for
};

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
