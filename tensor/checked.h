#pragma once

#include <concepts>
#include <cstdint>

#include "tensor/error.h"

namespace slimgrad {

/// An integer that never wraps: a sum, difference or product that does not fit into 64 bits throws
/// Error. For sizes that come from outside, and for FLOPs and bytes in closed form.
class Checked {
  public:
    constexpr Checked(std::int64_t value = 0) : value_(value) {}  // NOLINT: it is a number
    constexpr operator std::int64_t() const { return value_; }    // NOLINT

    Checked plus(Checked other) const {
        std::int64_t sum = 0;
        if (__builtin_add_overflow(value_, other.value_, &sum)) wraps('+', other);
        return sum;
    }
    Checked minus(Checked other) const {
        std::int64_t difference = 0;
        if (__builtin_sub_overflow(value_, other.value_, &difference)) wraps('-', other);
        return difference;
    }
    Checked times(Checked other) const {
        std::int64_t product = 0;
        if (__builtin_mul_overflow(value_, other.value_, &product)) wraps('*', other);
        return product;
    }
    Checked& operator+=(Checked other) { return *this = plus(other); }

  private:
    [[noreturn]] void wraps(char sign, Checked other) const {
        fail("[count] {} {} {} does not fit into 64 bits. Hint: smaller sizes", value_, sign,
             other.value_);
    }
    std::int64_t value_;
};

/// One of the two is Checked, the other an integer or Checked too.
template <class A, class B>
concept CheckedPair = (std::same_as<A, Checked> &&
                       (std::integral<B> || std::same_as<B, Checked>)) ||
                      (std::integral<A> && std::same_as<B, Checked>);

template <class A, class B>
requires CheckedPair<A, B> Checked operator+(A a, B b) { return Checked(a).plus(b); }
template <class A, class B>
requires CheckedPair<A, B> Checked operator-(A a, B b) { return Checked(a).minus(b); }
template <class A, class B>
requires CheckedPair<A, B> Checked operator*(A a, B b) { return Checked(a).times(b); }

}  // namespace slimgrad
