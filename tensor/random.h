#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A stream of random numbers that is a pure function of its arguments: the Philox 4x32-10
/// generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). There is no
/// global state and no seeding by time: who draws says from which stream.
///
/// `seed` is the run's, `purpose` says what the numbers are for ("dropout", "shuffle"), `a` and `b`
/// index the draw (epoch, step, sample ...). Streams that differ in any of them are independent.
class Stream {
  public:
    using result_type = std::uint32_t;

    Stream(std::uint64_t seed, std::string_view purpose, std::uint64_t a = 0, std::uint32_t b = 0);

    static constexpr result_type min() { return 0; }
    static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
    /// 32 random bits.
    result_type operator()();

    /// The next numbers of the stream, the same that single calls would give, several at a time.
    void fill(std::span<result_type> out);

    /// In [0, 1), a multiple of 2^-24 in either precision.
    real uniform();
    /// In [low, high).
    real uniform(real low, real high) { return low + (high - low) * uniform(); }
    /// Standard normal, by Box and Muller.
    real normal();
    /// An integer in [0, bound), without modulo bias.
    std::uint32_t below(std::uint32_t bound);
    /// A random order of 0 … n-1 (Fisher and Yates).
    std::vector<std::int64_t> permutation(std::int64_t n);

    /// The generator itself: four words of output for a counter and a key.
    static std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                               std::array<std::uint32_t, 2> key);

  private:
    std::array<std::uint32_t, 4> counter_;
    std::array<std::uint32_t, 2> key_;
    std::array<std::uint32_t, 4> block_{};
    int used_ = 4;
    bool has_spare_ = false;
    double spare_ = 0;
};

Tensor uniform(Shape shape, real low, real high, Stream& stream);
Tensor normal(Shape shape, real mean, real std, Stream& stream);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
