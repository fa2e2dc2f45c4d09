#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "data/batch.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Makes the batches of steps first, first + 1, … end - 1 on threads of its own, up to `depth` of
/// them ahead, and hands them out in that order: the same bits as asking the loader directly.
class Prefetcher {
  public:
    using Source = std::function<Batch(std::int64_t step)>;

    /// The source must be safe to call from other threads, as Loader::batch is. Of several workers
    /// each makes whole batches; more than `depth` have nothing to do.
    Prefetcher(Source source, std::int64_t first, std::int64_t end, std::int64_t depth = 2,
               std::int64_t workers = 1);
    /// From a copy of a Loader or TextLoader.
    template <class L>
    requires requires(const L& loader) { loader.batch(0); }
    Prefetcher(L loader, std::int64_t first, std::int64_t end, std::int64_t depth = 2,
               std::int64_t workers = 1)
        : Prefetcher(Source([loader = std::move(loader)](std::int64_t step) {
                         return loader.batch(step);
                     }),
                     first, end, depth, workers) {}
    /// Stops the threads; batches that nobody took are dropped.
    ~Prefetcher();
    Prefetcher(const Prefetcher&) = delete;
    Prefetcher& operator=(const Prefetcher&) = delete;

    /// The next batch; waits for it. Throws what the source threw for this step, now and at every
    /// later call, and Error after the last batch.
    Batch next();

  private:
    /// A batch, or why there is none.
    struct Result {
        Batch batch;
        std::exception_ptr error;
    };
    void work();
    void stop();

    Source source_;
    const std::int64_t end_, depth_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::int64_t wanted_;   // the step that next() gives
    std::int64_t claimed_;  // the first one that no worker has begun
    std::map<std::int64_t, Result> ready_;
    bool stop_ = false;
    std::vector<std::thread> workers_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
