#pragma once

#include <cstddef>
#include <cstdint>

namespace slimgrad {

/// Where the memory of tensors comes from: one range of addresses that is cut to size, so that a
/// training step reuses the pages of the step before instead of asking the system for new ones, and
/// little is lost in holes. Shared by both precisions; safe to use from several threads.
namespace allocator {

inline constexpr std::size_t alignment = 64;

/// A buffer of at least `bytes` bytes. Throws Error if there is no memory left: if all buffers
/// together would be larger than the machine's memory and swap space, the system would end the
/// process once they are written to.
void* allocate(std::size_t bytes);
void deallocate(void* data, std::size_t bytes) noexcept;

/// Gives the pages of free blocks back to the system, for example between training and what
/// follows.
void trim();

/// Bytes handed out and not yet given back, rounded up to `alignment`.
std::int64_t live_bytes();
/// Bytes of the range that have been used so far: what the process may hold of the machine's
/// memory.
std::int64_t reserved_bytes();
/// How often that has grown since the program began; constant in a steady state.
std::int64_t system_requests();

}  // namespace allocator
}  // namespace slimgrad
