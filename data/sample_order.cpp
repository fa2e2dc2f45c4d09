#include "data/sample_order.h"

#include <algorithm>
#include <array>
#include <limits>
#include <mutex>
#include <numeric>
#include <utility>

#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Two epochs, since reading ahead at the end of one goes on in the next.
struct SampleOrder::Cache {
    std::mutex mutex;
    std::array<std::pair<std::int64_t, std::shared_ptr<const Order>>, 2> epochs{};
    std::size_t oldest = 0;
};

SampleOrder::SampleOrder(std::int64_t count, const SampleOrderOptions& options,
                         const std::string& name)
    : count_(count), options_(options), cache_(std::make_shared<Cache>()) {
    require(options_.batch_size > 0, "[loader] expected a batch size of at least 1, got {}",
            options_.batch_size);
    require(steps_per_epoch() > 0,
            "[loader] expected at least one batch of {} samples, got {} samples in {}. Hint: a "
            "smaller batch, or drop_last = false",
            options_.batch_size, count_, name);
    require(count_ <= std::numeric_limits<std::uint32_t>::max(),
            "[loader] expected fewer than 2^32 samples, got {}", count_);
}

std::int64_t SampleOrder::steps_per_epoch() const {
    const std::int64_t rounding = options_.drop_last ? 0 : options_.batch_size - 1;
    return (count_ + rounding) / options_.batch_size;
}

std::shared_ptr<const SampleOrder::Order> SampleOrder::order(std::int64_t epoch) const {
    const std::lock_guard lock(cache_->mutex);
    for (const auto& [known, order] : cache_->epochs)
        if (order && (known == epoch || !options_.shuffle)) return order;
    Order order(static_cast<std::size_t>(count_));
    if (options_.shuffle)
        order =
            Stream(options_.seed, "shuffle", static_cast<std::uint64_t>(epoch)).permutation(count_);
    else
        std::iota(order.begin(), order.end(), 0);
    auto& slot = cache_->epochs[std::exchange(cache_->oldest, 1 - cache_->oldest)];
    slot = {epoch, std::make_shared<const Order>(std::move(order))};
    return slot.second;
}

std::vector<std::int64_t> SampleOrder::samples(std::int64_t step) const {
    require(step >= 0, "[loader] expected a step of at least 0, got {}", step);
    const std::int64_t begin = step % steps_per_epoch() * options_.batch_size;
    const std::int64_t count = std::min(options_.batch_size, count_ - begin);
    const auto samples = order(epoch(step));
    return {samples->begin() + begin, samples->begin() + begin + count};
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
