#include "data/loader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <mutex>
#include <numeric>
#include <utility>

#include "tensor/random.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

/// Two epochs, since reading ahead at the end of one goes on in the next.
struct Loader::Cache {
    std::mutex mutex;
    std::array<std::pair<std::int64_t, std::shared_ptr<const Order>>, 2> epochs{};
    std::size_t oldest = 0;
};

Batch Batch::part(std::int64_t begin, std::int64_t count) const {
    require(begin >= 0 && count >= 0 && begin <= size() && count <= size() - begin,
            "[data] a batch of {} samples has no part of {} from {}", size(), count, begin);
    return {x.rows(begin, count),
            {labels.begin() + begin, labels.begin() + begin + count},
            {indices.begin() + begin, indices.begin() + begin + count},
            step};
}

std::uint64_t digest(const Batch& batch) {
    // FNV-1a (Fowler, Noll and Vo) on words of 32 bits: each step is a bijection of the state.
    std::uint64_t state = 0xcbf29ce484222325;
    const auto add = [&state](const void* data, std::size_t bytes) {
        for (std::size_t at = 0; at < bytes; at += sizeof(std::uint32_t)) {
            std::uint32_t word = 0;
            std::memcpy(&word, static_cast<const char*>(data) + at, sizeof word);
            state = (state ^ word) * 0x100000001b3;
        }
    };
    add(batch.x.data(), batch.x.values().size_bytes());
    add(batch.labels.data(), batch.labels.size() * sizeof batch.labels.front());
    return state;
}

Loader::Loader(std::shared_ptr<const ImageData> data, LoaderOptions options)
    : data_(std::move(data)), options_(options), cache_(std::make_shared<Cache>()) {
    require(data_ != nullptr, "[loader] expected a data set, got none");
    data_->check();
    require(options_.batch_size > 0, "[loader] expected a batch size of at least 1, got {}",
            options_.batch_size);
    require(steps_per_epoch() > 0,
            "[loader] expected at least one batch of {} images, got {} images in {}. Hint: a "
            "smaller batch, or drop_last = false",
            options_.batch_size, data_->size(), data_->name);
    require(data_->size() <= std::numeric_limits<std::uint32_t>::max(),
            "[loader] expected fewer than 2^32 images, got {}", data_->size());
    for (std::size_t c = 0; c < data_->mean.size(); ++c)
        for (int byte = 0; byte < 256; ++byte)
            normalised_.push_back(
                static_cast<real>((byte / 255.0 - data_->mean[c]) / data_->std[c]));
}

std::int64_t Loader::steps_per_epoch() const {
    const std::int64_t rounding = options_.drop_last ? 0 : options_.batch_size - 1;
    return (data_->size() + rounding) / options_.batch_size;
}

std::shared_ptr<const Loader::Order> Loader::order(std::int64_t epoch) const {
    const std::lock_guard lock(cache_->mutex);
    for (const auto& [known, order] : cache_->epochs)
        if (order && (known == epoch || !options_.shuffle)) return order;
    Order order(static_cast<std::size_t>(data_->size()));
    if (options_.shuffle)
        order = Stream(options_.seed, "shuffle", static_cast<std::uint64_t>(epoch))
                    .permutation(data_->size());
    else
        std::iota(order.begin(), order.end(), 0);
    auto& slot = cache_->epochs[std::exchange(cache_->oldest, 1 - cache_->oldest)];
    slot = {epoch, std::make_shared<const Order>(std::move(order))};
    return slot.second;
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
    require(step >= 0, "[loader] expected a step of at least 0, got {}", step);
    const std::int64_t epoch = step / steps_per_epoch();
    const std::int64_t begin = step % steps_per_epoch() * options_.batch_size;
    const std::int64_t count = std::min(options_.batch_size, data_->size() - begin);
    const auto samples = order(epoch);
    Batch batch{Tensor({count, data_->channels, data_->height, data_->width}),
                {},
                {samples->begin() + begin, samples->begin() + begin + count},
                step};
    real* x = batch.x.data();
    for (const std::int64_t sample : batch.indices) {
        batch.labels.push_back(data_->labels[static_cast<std::size_t>(sample)]);
        write_image(epoch, sample, x);
        x += data_->image_bytes();
    }
    return batch;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
