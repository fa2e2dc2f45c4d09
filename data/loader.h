#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/batch.h"
#include "data/image_data.h"
#include "data/sample_order.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

struct LoaderOptions {
    std::int64_t batch_size = 128;
    bool shuffle = true;
    bool drop_last =
        true;              // leave out the samples that do not fill a batch; another set each epoch
    bool augment = false;  // pad by an eighth of the side (4 of 32 or 28), crop, and flip
    bool flip = true;      // as part of augment; not for images of writing
    std::uint64_t seed = 0;
};

/// Batches of images as a pure function of the step: SampleOrder says which samples, and their
/// augmentation is drawn from the stream (seed, epoch, sample). So a run can be resumed at any
/// step, and a calibration can read ahead, without any state to save. Safe to use from several
/// threads; copies share the images.
///
/// Augmentation is the customary one for small images: zeros around the bytes (before they are
/// normalised, so the border is black), a random window of the original size, and a mirror image
/// half of the time. Then x = (byte / 255 - mean) / std by channel.
class Loader {
  public:
    /// Throws Error if the data set is inconsistent or smaller than one batch that must be full.
    Loader(std::shared_ptr<const ImageData> data, LoaderOptions options);
    std::int64_t steps_per_epoch() const { return order_.steps_per_epoch(); }
    const ImageData& data() const { return *data_; }
    const LoaderOptions& options() const { return options_; }
    /// Throws Error for a negative step.
    Batch batch(std::int64_t step) const;

  private:
    void write_image(std::int64_t epoch, std::int64_t sample, real* x) const;

    std::shared_ptr<const ImageData> data_;
    LoaderOptions options_;
    SampleOrder order_;
    std::vector<real> normalised_;  // (C, 256): the value of each byte in each channel
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
