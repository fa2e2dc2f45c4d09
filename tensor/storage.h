#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "tensor/ledger.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A buffer of bytes, aligned for vector instructions and entered in the ledger as long as it
/// lives.
class Storage {
  public:
    explicit Storage(std::size_t bytes, Category category = Category::workspace);
    /// A buffer that belongs to someone else, a NumPy array say; `owner` keeps it alive. While the
    /// library refers to it the ledger counts it like any other.
    Storage(void* data, std::size_t bytes, std::shared_ptr<const void> owner);
    ~Storage();
    Storage(const Storage&) = delete;
    Storage& operator=(const Storage&) = delete;

    void* data() { return data_; }
    const void* data() const { return data_; }
    std::size_t bytes() const { return bytes_; }
    /// Whether the buffer belongs to someone else.
    bool borrowed() const { return owner_ != nullptr; }

    /// What the buffer is for from now on; the ledger moves its bytes.
    void set_category(Category category);

    /// How often values in the buffer have been replaced, as far as the library was told: see
    /// Tensor::changed.
    std::uint64_t version() const { return version_.load(std::memory_order_relaxed); }
    void changed() { version_.fetch_add(1, std::memory_order_relaxed); }

  private:
    friend class Hold;
    void hold();
    void release();
    void enter(int sign) const;

    void* data_;
    std::size_t bytes_;
    std::atomic<std::uint64_t> version_ = 0;
    // Where the ledger counts the buffer; behind the ledger's lock, since two tapes in two threads
    // may keep one buffer.
    Category category_;
    int holds_ = 0;
    std::string holder_;
    std::shared_ptr<const void> owner_;  // of memory that is not the allocator's
};

/// Keeps a buffer for backward. While one Hold lives, a workspace buffer counts as `saved`;
/// parameters and the like stay in their own category, since they would be there anyway.
class Hold {
  public:
    Hold() = default;
    explicit Hold(std::shared_ptr<Storage> storage);
    ~Hold();
    Hold(Hold&& other) noexcept = default;
    Hold& operator=(Hold&& other) noexcept;

  private:
    std::shared_ptr<Storage> storage_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
