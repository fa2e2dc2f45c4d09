#include "instant/codec/quantised.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "tensor/checked.h"
#include "tensor/meter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

std::int64_t groups_of(std::int64_t elements) {
    return (elements + Quantised::group - 1) / Quantised::group;
}

std::int64_t code_bytes(std::int64_t elements, int bits) {
    return (Checked(elements) * bits + 7) / 8;
}

/// Calls f(group, its first element, its size) for the groups of one sample.
template <class F>
void for_each_group(std::int64_t elements, F f) {
    const std::int64_t groups = groups_of(elements);
    for (std::int64_t i = 0; i < groups; ++i) {
        const std::int64_t first = i * Quantised::group;
        f(i, first, std::min(Quantised::group, elements - first));
    }
}

/// The least and the largest of n > 0 numbers, in lanes that the compiler vectorises.
std::pair<real, real> range_of(const real* x, std::int64_t n) {
    constexpr std::int64_t lanes = 16;
    if (n < lanes) {
        const auto [low, high] = std::minmax_element(x, x + n);
        return {*low, *high};
    }
    std::array<real, lanes> low, high;
    std::copy_n(x, lanes, low.begin());
    std::copy_n(x, lanes, high.begin());
    const auto take = [&](const real* from) {
        for (std::size_t j = 0; j < lanes; ++j) {
            low[j] = from[j] < low[j] ? from[j] : low[j];
            high[j] = from[j] > high[j] ? from[j] : high[j];
        }
    };
    for (std::int64_t k = lanes; k + lanes <= n; k += lanes) take(x + k);
    take(x + n - lanes);
    return {std::ranges::min(low), std::ranges::max(high)};
}

/// A group's codes, at a byte of their own, and a draw u for each.
template <int bits>
void pack(const real* x, std::int64_t n, real least, real scale, const std::uint16_t* draws,
          std::uint8_t* out) {
    constexpr int each = 8 / bits;  // codes a byte
    constexpr auto levels = static_cast<real>((1 << bits) - 1);
    std::array<std::uint8_t, Quantised::group> codes{};
    for (std::int64_t k = 0; k < n; ++k) {
        const real u = static_cast<real>(draws[k]) * static_cast<real>(0x1p-16);
        const real code = (x[k] - least) * scale + u;
        const real above = code > 0 ? code : real(0);  // also of a NaN
        codes[static_cast<std::size_t>(k)] =
            static_cast<std::uint8_t>(static_cast<int>(above < levels ? above : levels));
    }
    for (std::int64_t byte = 0; byte < (n + each - 1) / each; ++byte) {
        int value = 0;
        for (int j = 0; j < each; ++j)
            value |= codes[static_cast<std::size_t>(byte * each + j)] << (j * bits);
        out[byte] = static_cast<std::uint8_t>(value);
    }
}

template <int bits>
void unpack(const std::uint8_t* in, std::int64_t n, real least, real step, real* x) {
    constexpr int each = 8 / bits, mask = (1 << bits) - 1;
    for (std::int64_t k = 0; k < n; ++k)
        x[k] = least + static_cast<real>(in[k / each] >> (k % each * bits) & mask) * step;
}

/// The loops of so many bits, which divide by constants.
struct Loops {
    decltype(&pack<8>) pack;
    decltype(&unpack<8>) unpack;
};

Loops loops_of(int bits) {
    switch (bits) {
        case 1:
            return {pack<1>, unpack<1>};
        case 2:
            return {pack<2>, unpack<2>};
        case 4:
            return {pack<4>, unpack<4>};
        case 8:
            return {pack<8>, unpack<8>};
        default:
            fail("[codec] expected 1, 2, 4 or 8 bits, got {}", bits);
    }
}

}  // namespace

std::int64_t Quantised::bytes(std::int64_t samples, std::int64_t elements, int bits,
                              std::int64_t number_size) {
    return Checked(samples) *
           (code_bytes(elements, bits) + Checked(groups_of(elements)) * 2 * number_size);
}

Quantised::Quantised(const Tensor& value, int bits,
                     const std::function<Stream(std::int64_t sample)>& stream_of)
    : shape_(value.shape()), bits_(bits) {
    const Loops loops = loops_of(bits);
    const std::int64_t samples = value.ndim() > 0 ? value.size(0) : 1;
    elements_ = samples > 0 ? value.numel() / samples : 0;
    const std::int64_t groups = groups_of(elements_), row = code_bytes(elements_, bits);
    codes_ = std::make_shared<Storage>(static_cast<std::size_t>(Checked(samples) * row));
    ranges_ = Tensor({samples, groups, 2});
    auto* const codes = static_cast<std::uint8_t*>(codes_->data());
    const auto levels = static_cast<real>((1 << bits) - 1);
#pragma omp parallel for schedule(static) if (value.numel() > (1 << 14))
    for (std::int64_t sample = 0; sample < samples; ++sample) {
        Stream stream = stream_of(sample);
        std::array<Stream::result_type, group / 2> words;
        std::array<std::uint16_t, group> draws;
        for_each_group(elements_, [&](std::int64_t i, std::int64_t first, std::int64_t n) {
            const real* x = value.data() + sample * elements_ + first;
            const auto [least, largest] = range_of(x, n);
            const real step = (largest - least) / levels;
            real* range = ranges_.data() + (sample * groups + i) * 2;
            range[0] = least;
            range[1] = step;
            stream.fill(words);
            std::memcpy(draws.data(), words.data(), sizeof words);
            loops.pack(x, n, least, step > 0 ? 1 / step : 0, draws.data(),
                       codes + sample * row + first * bits / 8);
        });
    }
    meter().add(5 * value.numel());
}

Tensor Quantised::unpack() const {
    Tensor value(shape_);
    const Loops loops = loops_of(bits_);
    const std::int64_t samples = ranges_.size(0), groups = ranges_.size(1);
    const std::int64_t row = code_bytes(elements_, bits_);
    const auto* const codes = static_cast<const std::uint8_t*>(codes_->data());
#pragma omp parallel for schedule(static) if (value.numel() > (1 << 14))
    for (std::int64_t sample = 0; sample < samples; ++sample)
        for_each_group(elements_, [&](std::int64_t i, std::int64_t first, std::int64_t n) {
            const real* range = ranges_.data() + (sample * groups + i) * 2;
            loops.unpack(codes + sample * row + first * bits_ / 8, n, range[0], range[1],
                         value.data() + sample * elements_ + first);
        });
    meter().add(2 * value.numel());
    return value;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
