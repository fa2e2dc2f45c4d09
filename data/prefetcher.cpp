#include "data/prefetcher.h"

#include <utility>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

Prefetcher::Prefetcher(Source source, std::int64_t first, std::int64_t end, std::size_t depth)
    : source_(std::move(source)), end_(end), depth_(depth) {
    require(depth_ > 0, "[prefetcher] expected room for at least one batch, got 0");
    require(first >= 0 && first <= end_,
            "[prefetcher] expected steps 0 <= first <= end, got {}, {}", first, end_);
    thread_ = std::thread([this, first] { run(first); });
}

Prefetcher::~Prefetcher() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void Prefetcher::run(std::int64_t first) {
    std::exception_ptr error;
    try {
        for (std::int64_t step = first; step < end_; ++step) {
            {
                std::unique_lock lock(mutex_);
                changed_.wait(lock, [this] { return stop_ || ready_.size() < depth_; });
                if (stop_) return;
            }
            Batch batch = source_(step);
            {
                const std::lock_guard lock(mutex_);
                ready_.push_back(std::move(batch));
            }
            changed_.notify_all();
        }
    } catch (...) {
        error = std::current_exception();
    }
    {
        const std::lock_guard lock(mutex_);
        error_ = error;
        finished_ = true;
    }
    changed_.notify_all();
}

Batch Prefetcher::next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return finished_ || !ready_.empty(); });
    if (ready_.empty()) {
        if (error_) std::rethrow_exception(error_);
        fail("[prefetcher] expected a call for each of the steps before {}, got one more", end_);
    }
    Batch batch = std::move(ready_.front());
    ready_.pop_front();
    lock.unlock();
    changed_.notify_all();
    return batch;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
