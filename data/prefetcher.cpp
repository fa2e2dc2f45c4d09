#include "data/prefetcher.h"

#include <algorithm>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

Prefetcher::Prefetcher(Source source, std::int64_t first, std::int64_t end, std::int64_t depth,
                       std::int64_t workers)
    : source_(std::move(source)), end_(end), depth_(depth), wanted_(first), claimed_(first) {
    require(depth > 0, "[prefetcher] expected room for at least one batch, got {}", depth);
    require(workers > 0, "[prefetcher] expected at least one worker, got {}", workers);
    require(first >= 0 && first <= end_,
            "[prefetcher] expected steps 0 <= first <= end, got {}, {}", first, end_);
    try {
        for (std::int64_t i = 0; i < std::min({workers, depth, end - first}); ++i)
            workers_.emplace_back([this] { work(); });
    } catch (...) {  // the system gives no more threads
        stop();
        throw;
    }
}

Prefetcher::~Prefetcher() { stop(); }

void Prefetcher::stop() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    changed_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

void Prefetcher::work() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] {
            return stop_ || claimed_ < std::min(end_, wanted_ + depth_) || claimed_ >= end_;
        });
        if (stop_ || claimed_ >= end_) return;
        const std::int64_t step = claimed_++;
        lock.unlock();
        Result result;
        try {
            result.batch = source_(step);
        } catch (...) {
            result.error = std::current_exception();
        }
        lock.lock();
        if (result.error) claimed_ = end_;  // what comes after it nobody will ask for
        ready_.emplace(step, std::move(result));
        changed_.notify_all();
    }
}

Batch Prefetcher::next() {
    std::unique_lock lock(mutex_);
    require(wanted_ < end_,
            "[prefetcher] expected a call for each of the steps before {}, got one more", end_);
    changed_.wait(lock, [this] { return ready_.contains(wanted_); });
    Result& result = ready_.at(wanted_);
    if (result.error) std::rethrow_exception(result.error);
    Batch batch = std::move(result.batch);
    ready_.erase(wanted_++);
    lock.unlock();
    changed_.notify_all();
    return batch;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
