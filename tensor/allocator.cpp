#include "tensor/allocator.h"

#include <sys/mman.h>

#include <map>
#include <mutex>

#include "tensor/error.h"

namespace slimgrad::allocator {
namespace {

constexpr std::size_t region_bytes = std::size_t{64} << 20;

std::size_t round_up(std::size_t bytes, std::size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

/// Best fit over address-ordered free blocks; neighbours are merged when they are given back.
class Pool {
  public:
    void* allocate(std::size_t bytes) {
        const std::lock_guard lock(mutex_);
        auto fit = by_size_.lower_bound(bytes);
        if (fit == by_size_.end()) fit = add_region(bytes);
        char* block = fit->second;
        const std::size_t available = fit->first;
        by_size_.erase(fit);
        free_.erase(block);
        if (available > bytes) insert(block + bytes, available - bytes);
        live_ += static_cast<std::int64_t>(bytes);
        return block;
    }

    void deallocate(char* block, std::size_t bytes) {
        const std::lock_guard lock(mutex_);
        live_ -= static_cast<std::int64_t>(bytes);
        auto next = free_.lower_bound(block);
        if (next != free_.end() && block + bytes == next->first) {
            bytes += next->second.bytes;
            erase(next++);
        }
        if (next != free_.begin()) {
            const auto previous = std::prev(next);
            if (previous->first + previous->second.bytes == block) {
                block = previous->first;
                bytes += previous->second.bytes;
                erase(previous);
            }
        }
        insert(block, bytes);
    }

    std::int64_t live() {
        const std::lock_guard lock(mutex_);
        return live_;
    }
    std::int64_t reserved() {
        const std::lock_guard lock(mutex_);
        return reserved_;
    }
    std::int64_t requests() {
        const std::lock_guard lock(mutex_);
        return requests_;
    }

  private:
    using BySize = std::multimap<std::size_t, char*>;
    struct Block {
        std::size_t bytes;
        BySize::iterator entry;
    };
    using Free = std::map<char*, Block>;

    BySize::iterator insert(char* block, std::size_t bytes) {
        const auto entry = by_size_.emplace(bytes, block);
        free_[block] = {bytes, entry};
        return entry;
    }

    void erase(Free::iterator block) {
        by_size_.erase(block->second.entry);
        free_.erase(block);
    }

    BySize::iterator add_region(std::size_t bytes) {
        const std::size_t size = round_up(bytes, region_bytes);
        void* region =
            mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        require(region != MAP_FAILED, "[allocator] the system has no memory left for {} bytes",
                bytes);
        reserved_ += static_cast<std::int64_t>(size);
        ++requests_;
        return insert(static_cast<char*>(region), size);
    }

    std::mutex mutex_;
    Free free_;
    BySize by_size_;
    std::int64_t live_ = 0;
    std::int64_t reserved_ = 0;
    std::int64_t requests_ = 0;
};

// Never destroyed: tensors of static storage duration may outlive any order of destruction.
Pool& pool() {
    static Pool& instance = *new Pool;
    return instance;
}

}  // namespace

void* allocate(std::size_t bytes) { return pool().allocate(round_up(bytes + !bytes, alignment)); }

void deallocate(void* data, std::size_t bytes) noexcept {
    pool().deallocate(static_cast<char*>(data), round_up(bytes + !bytes, alignment));
}

std::int64_t live_bytes() { return pool().live(); }
std::int64_t reserved_bytes() { return pool().reserved(); }
std::int64_t system_requests() { return pool().requests(); }

}  // namespace slimgrad::allocator
