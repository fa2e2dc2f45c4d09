#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "data/batch.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Makes the batches of steps first, first + 1, … end - 1 on a thread of its own, up to `depth` of
/// them ahead, and hands them out in that order: the same bits as asking the loader directly.
class Prefetcher {
  public:
    using Source = std::function<Batch(std::int64_t step)>;

    /// The source must be safe to call from another thread, as Loader::batch is.
    Prefetcher(Source source, std::int64_t first, std::int64_t end, std::size_t depth = 2);
    /// From a copy of a Loader or TextLoader.
    template <class L>
    requires requires(const L& loader) { loader.batch(0); }
    Prefetcher(L loader, std::int64_t first, std::int64_t end, std::size_t depth = 2)
        : Prefetcher(Source([loader = std::move(loader)](std::int64_t step) {
                         return loader.batch(step);
                     }),
                     first, end, depth) {}
    /// Stops the thread; batches that nobody took are dropped.
    ~Prefetcher();
    Prefetcher(const Prefetcher&) = delete;
    Prefetcher& operator=(const Prefetcher&) = delete;

    /// The next batch; waits for it. Throws what the source threw for this step, now and at every
    /// later call, and Error after the last batch.
    Batch next();

  private:
    void run(std::int64_t first);

    Source source_;
    const std::int64_t end_;
    const std::size_t depth_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Batch> ready_;
    std::exception_ptr error_;
    bool finished_ = false;  // no more batches will come
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
