#include "instant/codec/quantised.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "tensor/checked.h"
#include "tensor/meter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr std::int64_t block = 256;  // elements for which u is drawn at once

/// How one sample lies in memory: rows of codes, each of which begins with a byte of its own.
struct Layout {
    std::int64_t rows = 0, length = 0;  // of all rows but the last, which may be shorter
    std::int64_t elements = 0;
    bool by_column = false;  // a scale is shared by what stands below each other, not by a row

    Layout(const Shape& sample, const QuantisedForm& form) : elements(numel(sample)) {
        if (elements == 0) return;
        const bool image = sample.size() == 3;  // (C, H, W): a channel is a row of (C, H·W)
        if (form.scales == Scales::group)
            length = std::min(form.group, elements);
        else if (image)
            length = sample[1] * sample[2];
        else
            length = sample.empty() ? 1 : sample.back();
        rows = (elements + length - 1) / length;
        by_column = form.scales != Scales::group && (form.scales == Scales::channel) != image;
    }
    std::int64_t scales() const { return by_column ? length : rows; }
    std::int64_t size(std::int64_t row) const { return std::min(length, elements - row * length); }
    std::int64_t row_bytes(int bits) const { return (Checked(length) * bits + 7) / 8; }
    /// Rows are whole but for the last one.
    std::int64_t code_bytes(int bits) const {
        if (rows == 0) return 0;
        return Checked(rows - 1) * row_bytes(bits) + (Checked(size(rows - 1)) * bits + 7) / 8;
    }
};

Shape sample_of(const Shape& shape) {
    return shape.empty() ? Shape{} : Shape(shape.begin() + 1, shape.end());
}

/// The least and the largest of some numbers, and whether all are finite, in lanes that the
/// compiler vectorises.
struct Extremes {
    real least, largest;
    bool finite;

    Extremes(const real* x, std::int64_t n) {
        constexpr std::int64_t lanes = 16;
        std::array<real, lanes> low, high, nothing{};  // 0 · x is 0 of finite numbers alone
        low.fill(x[0]);
        high.fill(x[0]);
        const auto take = [&](const real* from, std::int64_t count) {
            for (std::int64_t j = 0; j < count; ++j) {
                const auto lane = static_cast<std::size_t>(j);
                low[lane] = from[j] < low[lane] ? from[j] : low[lane];
                high[lane] = from[j] > high[lane] ? from[j] : high[lane];
                nothing[lane] += from[j] * 0;
            }
        };
        std::int64_t k = 0;
        for (; k + lanes <= n; k += lanes) take(x + k, lanes);
        take(x + k, n - k);
        least = std::ranges::min(low);
        largest = std::ranges::max(high);
        finite = std::ranges::all_of(nothing, [](real zero) { return zero == 0; });
    }
};

/// What the elements of a row share, or each column by itself: least value and step.
struct Shared {
    real least, scale;  // scale: step, or 1 / step to quantise

    real least_of(std::int64_t) const { return least; }
    real scale_of(std::int64_t) const { return scale; }
};
struct OfColumns {
    const real *least, *scale;

    real least_of(std::int64_t k) const { return least[k]; }
    real scale_of(std::int64_t k) const { return scale[k]; }
    OfColumns from(std::int64_t k) const { return {least + k, scale + k}; }
};

/// Codes of a byte each, and how many bits of them, side by side: several bytes are one word, so
/// that the compiler makes vectors of it. The first code has the lowest bits.
template <int bits>
using Word = std::conditional_t<bits == 4, std::uint16_t,
                                std::conditional_t<bits == 2, std::uint32_t, std::uint64_t>>;
using Codes = std::array<std::uint8_t, block>;
static_assert(std::endian::native == std::endian::little);

template <int bits>
void squeeze(const Codes& codes, std::int64_t bytes, std::uint8_t* out) {
    if constexpr (bits == 8) {
        std::memcpy(out, codes.data(), static_cast<std::size_t>(bytes));
    } else {
        std::array<Word<bits>, sizeof(Codes) * bits / 8> words;
        std::memcpy(words.data(), codes.data(), sizeof words);
        for (std::int64_t i = 0; i < bytes; ++i) {
            const Word<bits> w = words[static_cast<std::size_t>(i)];
            if constexpr (bits == 4) out[i] = static_cast<std::uint8_t>(w | w >> 4);
            if constexpr (bits == 2)
                out[i] = static_cast<std::uint8_t>(w | w >> 6 | w >> 12 | w >> 18);
            if constexpr (bits == 1)
                out[i] = static_cast<std::uint8_t>(w * 0x0102040810204080u >> 56);
        }
    }
}

template <int bits>
void spread(const std::uint8_t* in, std::int64_t bytes, Codes& codes) {
    if constexpr (bits == 8) {
        std::memcpy(codes.data(), in, static_cast<std::size_t>(bytes));
    } else {
        std::array<Word<bits>, sizeof(Codes) * bits / 8> words;
        for (std::int64_t i = 0; i < bytes; ++i) {
            const Word<bits> w = in[i];
            auto& word = words[static_cast<std::size_t>(i)];
            if constexpr (bits == 4) word = static_cast<Word<bits>>((w | w << 4) & 0x0F0F);
            if constexpr (bits == 2) word = (w | w << 6 | w << 12 | w << 18) & 0x03030303;
            if constexpr (bits == 1) {
                const std::uint64_t each = w * 0x0101010101010101u & 0x8040201008040201u;
                word = (each + 0x7F7F7F7F7F7F7F7Fu) >> 7 & 0x0101010101010101u;
            }
        }
        std::memcpy(codes.data(), words.data(),
                    static_cast<std::size_t>(bytes) * sizeof(Word<bits>));
    }
}

/// Codes of n ≤ block elements, at a byte of their own, and a draw u for each.
template <int bits, class Ranges>
void pack_codes(const real* x, std::int64_t n, const Ranges& ranges, const std::uint16_t* draws,
                std::uint8_t* out) {
    constexpr auto levels = static_cast<real>((1 << bits) - 1);
    Codes codes{};
    for (std::int64_t k = 0; k < n; ++k) {
        const real u = static_cast<real>(draws[k]) * static_cast<real>(0x1p-16);
        const real code = (x[k] - ranges.least_of(k)) * ranges.scale_of(k) + u;
        const real above = code > 0 ? code : real(0);
        codes[static_cast<std::size_t>(k)] =
            static_cast<std::uint8_t>(static_cast<int>(above < levels ? above : levels));
    }
    squeeze<bits>(codes, (n * bits + 7) / 8, out);
}

template <int bits, class Ranges>
void unpack_codes(const std::uint8_t* in, std::int64_t n, const Ranges& ranges, real* x) {
    Codes codes;
    spread<bits>(in, (n * bits + 7) / 8, codes);
    for (std::int64_t k = 0; k < n; ++k)
        x[k] = ranges.least_of(k) +
               static_cast<real>(codes[static_cast<std::size_t>(k)]) * ranges.scale_of(k);
}

/// Calls f with the number of bits as a constant: the loops divide by it.
template <class F>
auto with_bits(int bits, F f) {
    switch (bits) {
        case 1:
            return f(std::integral_constant<int, 1>());
        case 2:
            return f(std::integral_constant<int, 2>());
        case 4:
            return f(std::integral_constant<int, 4>());
        case 8:
            return f(std::integral_constant<int, 8>());
        default:
            fail("[codec] expected 1, 2, 4 or 8 bits, got {}", bits);
    }
}

/// Least values and steps of one sample: (scales, 2). False if a value is not finite.
bool find_ranges(const real* x, const Layout& layout, int bits, real* ranges) {
    const auto levels = static_cast<real>((1 << bits) - 1);
    bool finite = true;
    const auto set = [&](std::int64_t i, real least, real largest) {
        ranges[2 * i] = least;
        ranges[2 * i + 1] = (largest - least) / levels;
        finite = finite && std::isfinite(ranges[2 * i + 1]);
    };
    if (!layout.by_column) {
        for (std::int64_t row = 0; row < layout.rows; ++row) {
            const Extremes found(x + row * layout.length, layout.size(row));
            set(row, found.least, found.largest);
            finite = finite && found.finite;
        }
        return finite;
    }
    const auto n = static_cast<std::size_t>(layout.length);
    std::vector<real> low(x, x + n), high(x, x + n), nothing(n);
    for (std::int64_t row = 0; row < layout.rows; ++row)
        for (std::size_t k = 0; k < n; ++k) {
            const real value = x[static_cast<std::size_t>(row) * n + k];
            low[k] = value < low[k] ? value : low[k];
            high[k] = value > high[k] ? value : high[k];
            nothing[k] += value * 0;
        }
    for (std::size_t k = 0; k < n; ++k) {
        set(static_cast<std::int64_t>(k), low[k], high[k]);
        finite = finite && nothing[k] == 0;
    }
    return finite;
}

/// Calls f(row, first, n, ranges) for each block of a sample's rows; `of_step(step)` is the scale.
template <class OfStep, class F>
void for_each_block(const Layout& layout, const real* ranges, OfStep of_step, F f) {
    std::vector<real> least, scale;
    if (layout.by_column)
        for (std::int64_t k = 0; k < layout.length; ++k) {
            least.push_back(ranges[2 * k]);
            scale.push_back(of_step(ranges[2 * k + 1]));
        }
    const OfColumns columns{least.data(), scale.data()};
    for (std::int64_t row = 0; row < layout.rows; ++row)
        for (std::int64_t first = 0; first < layout.size(row); first += block) {
            const std::int64_t n = std::min(block, layout.size(row) - first);
            if (layout.by_column)
                f(row, first, n, columns.from(first));
            else
                f(row, first, n, Shared{ranges[2 * row], of_step(ranges[2 * row + 1])});
        }
}

}  // namespace

std::int64_t QuantisedForm::bytes(const Shape& sample, std::int64_t samples,
                                  std::int64_t number_size) const {
    const Layout layout(sample, *this);
    return Checked(samples) *
           (layout.code_bytes(bits) + Checked(layout.scales()) * 2 * number_size);
}

Quantised::Quantised(const Tensor& value, QuantisedForm form, const StreamOf& stream_of)
    : shape_(value.shape()), form_(form) {
    require(form.group > 0 && form.group % 8 == 0,
            "[codec] expected groups of a multiple of 8 elements, got {}", form.group);
    const int bits = form.bits;
    const Layout layout(sample_of(shape_), form);
    const std::int64_t samples = value.ndim() > 0 ? value.size(0) : 1;
    const std::int64_t scales = layout.scales();
    codes_ = std::make_shared<Storage>(
        static_cast<std::size_t>(Checked(samples) * layout.code_bytes(bits)));
    ranges_ = Tensor({samples, scales, 2});
    auto* const codes = static_cast<std::uint8_t*>(codes_->data());
    std::atomic<std::int64_t> damaged = samples;
    with_bits(bits, [&](auto constant) {
#pragma omp parallel for schedule(static) if (value.numel() > (1 << 14))
        for (std::int64_t sample = 0; sample < samples; ++sample) {
            const real* x = value.data() + sample * layout.elements;
            real* ranges = ranges_.data() + sample * scales * 2;
            std::uint8_t* const to = codes + sample * layout.code_bytes(bits);
            const std::int64_t row_bytes = layout.row_bytes(bits);
            if (!find_ranges(x, layout, bits, ranges)) damaged = sample;
            Stream stream = stream_of(sample);
            std::array<Stream::result_type, block / 2> words;
            std::array<std::uint16_t, block> draws;
            const auto inverse = [](real step) { return step > 0 ? 1 / step : real(0); };
            for_each_block(layout, ranges, inverse,
                           [&](std::int64_t row, std::int64_t first, std::int64_t n, auto shared) {
                               stream.fill(words);
                               std::memcpy(draws.data(), words.data(), sizeof words);
                               pack_codes<constant()>(x + row * layout.length + first, n, shared,
                                                      draws.data(),
                                                      to + row * row_bytes + first * bits / 8);
                           });
        }
    });
    require(damaged == samples,
            "[{}] a value of sample {} is not finite and cannot be kept in {} bits. Hint: the run "
            "may have diverged; try a lower learning rate",
            current_layer(), damaged.load(), bits);
    meter().add(5 * value.numel());
}

Tensor Quantised::unpack() const {
    Tensor value(shape_);
    const Layout layout(sample_of(shape_), form_);
    const std::int64_t samples = ranges_.size(0), scales = layout.scales();
    const auto* const codes = static_cast<const std::uint8_t*>(codes_->data());
    with_bits(form_.bits, [&](auto constant) {
#pragma omp parallel for schedule(static) if (value.numel() > (1 << 14))
        for (std::int64_t sample = 0; sample < samples; ++sample) {
            const int bits = form_.bits;
            const std::uint8_t* const from = codes + sample * layout.code_bytes(bits);
            const std::int64_t row_bytes = layout.row_bytes(bits);
            real* const to = value.data() + sample * layout.elements;
            for_each_block(
                layout, ranges_.data() + sample * scales * 2, [](real step) { return step; },
                [&](std::int64_t row, std::int64_t first, std::int64_t n, auto shared) {
                    unpack_codes<constant()>(from + row * row_bytes + first * bits / 8, n, shared,
                                             to + row * layout.length + first);
                });
        }
    });
    meter().add(2 * value.numel());
    return value;
}

Tensor rounding_variance(const Tensor& value, const QuantisedForm& form) {
    const Layout layout(sample_of(value.shape()), form);
    const std::int64_t samples = value.ndim() > 0 ? value.size(0) : 1;
    Tensor variance(value.shape());
    std::vector<real> ranges(static_cast<std::size_t>(2 * layout.scales()));
    for (std::int64_t sample = 0; sample < samples; ++sample) {
        const real* x = value.data() + sample * layout.elements;
        real* out = variance.data() + sample * layout.elements;
        find_ranges(x, layout, form.bits, ranges.data());
        for_each_block(
            layout, ranges.data(), [](real step) { return step; },
            [&](std::int64_t row, std::int64_t first, std::int64_t n, auto shared) {
                for (std::int64_t k = 0; k < n; ++k) {
                    const std::int64_t i = row * layout.length + first + k;
                    const real step = shared.scale_of(k);
                    const real code = step > 0 ? (x[i] - shared.least_of(k)) / step : real(0);
                    const real f = code - std::floor(code);
                    out[i] = step * step * f * (1 - f);
                }
            });
    }
    meter().add(9 * value.numel());
    return variance;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
