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
    /// Samples [begin, begin + count), sharing the values of x.
    Batch part(std::int64_t begin, std::int64_t count) const;
};

struct LoaderOptions {
    std::int64_t batch_size = 128;
    bool shuffle = true;
    bool drop_last = true;
    bool augment = false;  // pad by 4 and crop (a eighth of the side for other sizes), flip
    std::uint64_t seed = 0;
};

/// Batches as a pure function of the step: step s is batch s mod steps_per_epoch of epoch
/// s / steps_per_epoch, whose order and augmentation are drawn from streams of (seed, epoch) and
/// (seed, epoch, sample). So a run can be resumed at any step, and a calibration can read ahead,
/// without any state to save.
class Loader {
  public:
    Loader(std::shared_ptr<const ImageData> data, LoaderOptions options);
    std::int64_t steps_per_epoch() const;
    const ImageData& data() const { return *data_; }
    const LoaderOptions& options() const { return options_; }
    Batch batch(std::int64_t step) const;

  private:
    std::shared_ptr<const ImageData> data_;
    LoaderOptions options_;
};

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
