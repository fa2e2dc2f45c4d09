#pragma once

#include <cstddef>
#include <cstdint>

namespace slimgrad {

/// Where the memory of tensors comes from: large regions taken from the system and cut to size, so
/// that a training step reuses the pages of the step before instead of asking for new ones. Shared
/// by both precisions; safe to use from several threads.
namespace allocator {

inline constexpr std::size_t alignment = 64;

/// A buffer of at least `bytes` bytes. Throws Error if the system has no memory left.
void* allocate(std::size_t bytes);
void deallocate(void* data, std::size_t bytes) noexcept;

/// Bytes handed out and not yet given back, rounded up to `alignment`.
std::int64_t live_bytes();
/// Bytes taken from the system.
std::int64_t reserved_bytes();
/// How often the system was asked for memory since the program began.
std::int64_t system_requests();

}  // namespace allocator
}  // namespace slimgrad
