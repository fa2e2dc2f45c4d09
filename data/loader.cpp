#include "data/loader.h"

#include <algorithm>
#include <utility>

#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

std::shared_ptr<const ImageData> checked(std::shared_ptr<const ImageData> data) {
    require(data != nullptr, "[loader] expected a data set, got none");
    data->check();
    return data;
}

}  // namespace

Loader::Loader(std::shared_ptr<const ImageData> data, LoaderOptions options)
    : data_(checked(std::move(data))),
      options_(options),
      order_(data_->size(), {options.batch_size, options.shuffle, options.drop_last, options.seed},
             data_->name) {
    for (std::size_t c = 0; c < data_->mean.size(); ++c)
        for (int byte = 0; byte < 256; ++byte)
            normalised_.push_back(
                static_cast<real>((byte / 255.0 - data_->mean[c]) / data_->std[c]));
}

void Loader::write_image(std::int64_t epoch, std::int64_t sample, real* x) const {
    const std::int64_t height = data_->height, width = data_->width;
    // The window's corner in the image, from -pad to pad, and whether to mirror it.
    std::int64_t top = 0, left = 0;
    bool mirror = false;
    if (options_.augment) {
        Stream stream(options_.seed, "augment", static_cast<std::uint64_t>(epoch),
                      static_cast<std::uint32_t>(sample));
        const std::int64_t pad_y = (height + 4) / 8, pad_x = (width + 4) / 8;
        top = stream.below(static_cast<std::uint32_t>(2 * pad_y + 1)) - pad_y;
        left = stream.below(static_cast<std::uint32_t>(2 * pad_x + 1)) - pad_x;
        mirror = options_.flip && stream.below(2) == 1;
    }
    // Columns [first, last) of the window lie inside the image.
    const std::int64_t first = std::max<std::int64_t>(0, -left);
    const std::int64_t last = std::min(width, width - left);
    const std::uint8_t* plane = data_->image(sample).data();
    const real* value = normalised_.data();
    for (std::int64_t c = 0; c < data_->channels; ++c, plane += height * width, value += 256)
        for (std::int64_t row = 0; row < height; ++row, x += width) {
            const std::int64_t source_row = row + top;
            if (source_row < 0 || source_row >= height) {
                std::fill_n(x, width, value[0]);
                continue;
            }
            const std::uint8_t* const bytes = plane + source_row * width;
            std::fill(x, x + first, value[0]);
            for (std::int64_t column = first; column < last; ++column)
                x[column] = value[bytes[column + left]];
            std::fill(x + last, x + width, value[0]);
            if (mirror) std::reverse(x, x + width);
        }
}

Batch Loader::batch(std::int64_t step) const {
    Batch batch;
    batch.indices = order_.samples(step);
    batch.step = step;
    batch.x = Tensor({std::ssize(batch.indices), data_->channels, data_->height, data_->width});
    real* x = batch.x.data();
    for (const std::int64_t sample : batch.indices) {
        batch.labels.push_back(data_->labels[static_cast<std::size_t>(sample)]);
        write_image(order_.epoch(step), sample, x);
        x += data_->image_bytes();
    }
    return batch;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
