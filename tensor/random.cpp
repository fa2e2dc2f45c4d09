#include "tensor/random.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "tensor/kernels/philox.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

std::uint64_t fnv1a(std::string_view text) {
    std::uint64_t hash = 14695981039346656037u;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
    return hash;
}

/// The finaliser of SplitMix64: spreads neighbouring seeds over all bits of the key.
std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

std::uint32_t low(std::uint64_t z) { return static_cast<std::uint32_t>(z); }
std::uint32_t high(std::uint64_t z) { return static_cast<std::uint32_t>(z >> 32); }

}  // namespace

Stream::Stream(std::uint64_t seed, std::string_view purpose, std::uint64_t a, std::uint32_t b)
    : counter_{0, b, low(a), high(a)} {
    const std::uint64_t key = mix(seed + 0x9E3779B97F4A7C15u) ^ fnv1a(purpose);
    key_ = {low(key), high(key)};
}

std::array<std::uint32_t, 4> Stream::philox(std::array<std::uint32_t, 4> counter,
                                            std::array<std::uint32_t, 2> key) {
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t p0 = std::uint64_t{0xD2511F53} * counter[0];
        const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * counter[2];
        counter = {high(p1) ^ counter[1] ^ key[0], low(p1), high(p0) ^ counter[3] ^ key[1],
                   low(p0)};
        key[0] += 0x9E3779B9;
        key[1] += 0xBB67AE85;
    }
    return counter;
}

std::uint32_t Stream::operator()() {
    if (used_ == 4) {
        block_ = philox(counter_, key_);
        ++counter_[0];
        used_ = 0;
    }
    return block_[static_cast<std::size_t>(used_++)];
}

void Stream::fill(std::span<result_type> out) {
    std::size_t i = 0;
    while (i < out.size() && used_ < 4) out[i++] = (*this)();
    const std::uint32_t blocks = philox_blocks(counter_, key_, out.subspan(i));
    counter_[0] += blocks;
    i += std::size_t{blocks} * 4;
    while (i < out.size()) out[i++] = (*this)();
}

real Stream::uniform() { return static_cast<real>((*this)() >> 8) * static_cast<real>(0x1p-24); }

real Stream::normal() {
    if (has_spare_) {
        has_spare_ = false;
        return static_cast<real>(spare_);
    }
    const double u = ((*this)() + 0.5) * 0x1p-32;
    const double v = ((*this)() + 0.5) * 0x1p-32;
    const double radius = std::sqrt(-2 * std::log(u));
    const double angle = 2 * std::numbers::pi * v;
    spare_ = radius * std::sin(angle);
    has_spare_ = true;
    return static_cast<real>(radius * std::cos(angle));
}

std::uint32_t Stream::below(std::uint32_t bound) {
    require(bound > 0, "[random] below() needs a positive bound");
    const std::uint32_t rejected = (0u - bound) % bound;  // 2^32 mod bound
    std::uint32_t draw = (*this)();
    while (draw < rejected) draw = (*this)();
    return draw % bound;
}

std::vector<std::int64_t> Stream::permutation(std::int64_t n) {
    require(n >= 0 && n <= max(), "[random] a permutation has from 0 to {} entries, got {}", max(),
            n);
    std::vector<std::int64_t> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t i = order.size(); i > 1; --i)
        std::swap(order[i - 1], order[below(static_cast<std::uint32_t>(i))]);
    return order;
}

Tensor uniform(Shape shape, real low, real high, Stream& stream) {
    Tensor t(std::move(shape));
    for (real& value : t.values()) value = stream.uniform(low, high);
    return t;
}

Tensor normal(Shape shape, real mean, real std, Stream& stream) {
    Tensor t(std::move(shape));
    for (real& value : t.values()) value = mean + std * stream.normal();
    return t;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
