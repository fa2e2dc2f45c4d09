#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace slimgrad {

/// 64 bits that stand for a sequence of bytes: FNV-1a (Fowler, Noll and Vo) on words of 32 bits,
/// each step of which is a bijection of the state. Against accidents, not against intent.
class Digest {
  public:
    /// Bytes that fill no word are filled up with zeros.
    void add(const void* data, std::size_t bytes) {
        const char* const from = static_cast<const char*>(data);
        for (std::size_t at = 0; at < bytes; at += sizeof(std::uint32_t)) {
            std::uint32_t word = 0;
            std::memcpy(&word, from + at, std::min(sizeof word, bytes - at));
            state_ = (state_ ^ word) * 0x100000001b3;
        }
    }
    template <class T>
    void add(std::span<const T> values) {
        add(values.data(), values.size_bytes());
    }
    /// Its length too, so that "ab", "c" is not "a", "bc".
    void add(std::string_view text) {
        const std::uint64_t size = text.size();
        add(&size, sizeof size);
        add(text.data(), text.size());
    }
    std::uint64_t value() const { return state_; }

  private:
    std::uint64_t state_ = 0xcbf29ce484222325;
};

}  // namespace slimgrad
