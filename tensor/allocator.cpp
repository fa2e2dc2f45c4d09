#include "tensor/allocator.h"

#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <mutex>

#include "tensor/error.h"

namespace slimgrad::allocator {
namespace {

std::size_t round_up(std::size_t bytes) {
    require(bytes <= std::numeric_limits<std::size_t>::max() / 2,
            "[allocator] {} bytes are more than there are addresses", bytes);
    return (bytes + alignment - 1) / alignment * alignment;
}

/// The machine's memory and swap space.
std::size_t machine_bytes() {
    struct sysinfo info {};
    require(sysinfo(&info) == 0, "[allocator] the system does not say how much memory it has");
    return (std::size_t{info.totalram} + info.totalswap) * info.mem_unit;
}

/// One range of addresses, several times the machine's memory, whose pages come into being when
/// they are first touched. Large buffers are placed from its low end, small ones from its high end,
/// each at the first address that fits: a training step mixes large values that die soon with small
/// ones that are kept for backward, and apart they leave no holes in each other's range.
class Pool {
  public:
    Pool() {
        const auto physical = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
                              static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
        void* range = MAP_FAILED;
        for (size_ = 4 * physical; range == MAP_FAILED && size_ > (1u << 20); size_ /= 2)
            range = mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        require(range != MAP_FAILED, "[allocator] the system gives no memory");
        size_ *= 2;  // undo the loop's last step
        // Huge pages make the first touch of a buffer three times faster. Blocks lie side by side,
        // so that hardly any part of such a page stays unused.
        madvise(range, size_, MADV_HUGEPAGE);
        low_end_ = begin_ = static_cast<char*>(range);
        high_end_ = begin_ + size_;
        free_[begin_] = size_;
    }

    void* allocate(std::size_t bytes) {
        const std::lock_guard lock(mutex_);
        const std::size_t largest = std::max(largest_, bytes);
        char* block = nullptr;
        if (bytes <= machine_ && live_ <= machine_ - bytes)
            block = bytes <= largest / 4 ? from_high_end(bytes) : from_low_end(bytes);
        require(block != nullptr,
                "[allocator] out of memory: {} bytes are not to be had, {} of {} are in use", bytes,
                live_, machine_);
        largest_ = largest;
        live_ += bytes;
        return block;
    }

    void deallocate(char* block, std::size_t bytes) {
        const std::lock_guard lock(mutex_);
        live_ -= bytes;
        auto next = free_.lower_bound(block);
        if (next != free_.end() && block + bytes == next->first) {
            bytes += next->second;
            next = free_.erase(next);
        }
        if (next != free_.begin()) {
            const auto previous = std::prev(next);
            if (previous->first + previous->second == block) {
                previous->second += bytes;
                return;
            }
        }
        free_[block] = bytes;
    }

    void trim() {
        const std::lock_guard lock(mutex_);
        const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
        for (const auto& [block, bytes] : free_) {
            const auto address = reinterpret_cast<std::uintptr_t>(block);
            const std::size_t before = (page - address % page) % page;  // of the first whole page
            if (before >= bytes) continue;
            const std::size_t whole = (bytes - before) / page * page;
            if (whole > 0) madvise(block + before, whole, MADV_DONTNEED);
        }
    }

    std::size_t live() {
        const std::lock_guard lock(mutex_);
        return live_;
    }
    std::size_t reserved() {
        const std::lock_guard lock(mutex_);
        return static_cast<std::size_t>(low_end_ - begin_) +
               static_cast<std::size_t>(begin_ + size_ - high_end_);
    }
    std::int64_t requests() {
        const std::lock_guard lock(mutex_);
        return requests_;
    }

  private:
    char* from_low_end(std::size_t bytes) {
        const auto fit =
            std::ranges::find_if(free_, [&](const auto& b) { return b.second >= bytes; });
        if (fit == free_.end()) return nullptr;
        const auto [block, available] = *fit;
        free_.erase(fit);
        if (available > bytes) free_[block + bytes] = available - bytes;
        if (block + bytes > low_end_ && block < high_end_) {
            low_end_ = block + bytes;
            ++requests_;
        }
        return block;
    }

    char* from_high_end(std::size_t bytes) {
        const auto fit = std::find_if(free_.rbegin(), free_.rend(),
                                      [&](const auto& b) { return b.second >= bytes; });
        if (fit == free_.rend()) return nullptr;
        char* const block = fit->first + fit->second - bytes;
        if ((fit->second -= bytes) == 0) free_.erase(std::next(fit).base());
        if (block < high_end_ && block >= low_end_) {
            high_end_ = block;
            ++requests_;
        }
        return block;
    }

    std::mutex mutex_;
    const std::size_t machine_ = machine_bytes();
    std::size_t size_;
    char* begin_;
    char *low_end_, *high_end_;  // what lies between them has never been used
    std::map<char*, std::size_t> free_;
    std::size_t largest_ = 0;
    std::size_t live_ = 0;
    std::int64_t requests_ = 0;
};

// Never destroyed: tensors of static storage duration may outlive any order of destruction.
Pool& pool() {
    static Pool& instance = *new Pool;
    return instance;
}

}  // namespace

void* allocate(std::size_t bytes) { return pool().allocate(round_up(bytes + !bytes)); }

void deallocate(void* data, std::size_t bytes) noexcept {
    pool().deallocate(static_cast<char*>(data), round_up(bytes + !bytes));
}

void trim() { pool().trim(); }

std::int64_t live_bytes() { return static_cast<std::int64_t>(pool().live()); }
std::int64_t reserved_bytes() { return static_cast<std::int64_t>(pool().reserved()); }
std::int64_t system_requests() { return pool().requests(); }

}  // namespace slimgrad::allocator
