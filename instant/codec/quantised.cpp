#include "instant/codec/quantised.h"

#include <algorithm>
#include <array>

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

}  // namespace

std::int64_t Quantised::bytes(std::int64_t samples, std::int64_t elements, int bits,
                              std::int64_t number_size) {
    return Checked(samples) *
           (code_bytes(elements, bits) + Checked(groups_of(elements)) * 2 * number_size);
}

Quantised::Quantised(const Tensor& value, int bits,
                     const std::function<Stream(std::int64_t sample)>& stream_of)
    : shape_(value.shape()), bits_(bits) {
    require(bits == 1 || bits == 2 || bits == 4 || bits == 8,
            "[codec] expected 1, 2, 4 or 8 bits, got {}", bits);
    const std::int64_t samples = value.ndim() > 0 ? value.size(0) : 1;
    elements_ = samples > 0 ? value.numel() / samples : 0;
    const std::int64_t groups = groups_of(elements_), row = code_bytes(elements_, bits);
    codes_ = std::make_shared<Storage>(static_cast<std::size_t>(Checked(samples) * row));
    ranges_ = Tensor({samples, groups, 2});
    auto* const codes = static_cast<std::uint8_t*>(codes_->data());
    const auto levels = static_cast<real>((1 << bits) - 1);
    const int each = 8 / bits;  // codes a byte
#pragma omp parallel for schedule(static) if (value.numel() > (1 << 14))
    for (std::int64_t sample = 0; sample < samples; ++sample) {
        Stream stream = stream_of(sample);
        std::uint8_t* const out = codes + sample * row;
        std::fill_n(out, row, std::uint8_t{0});
        std::array<Stream::result_type, group> words;
        for_each_group(elements_, [&](std::int64_t i, std::int64_t first, std::int64_t n) {
            const real* x = value.data() + sample * elements_ + first;
            const auto [low, high] = std::minmax_element(x, x + n);
            const real least = *low, step = (*high - least) / levels;
            real* range = ranges_.data() + (sample * groups + i) * 2;
            range[0] = least;
            range[1] = step;
            const real scale = step > 0 ? 1 / step : 0;
            stream.fill({words.data(), static_cast<std::size_t>(n)});
            for (std::int64_t k = 0; k < n; ++k) {
                const real u = static_cast<real>(words[static_cast<std::size_t>(k)] >> 8) *
                               static_cast<real>(0x1p-24);
                const real code = (x[k] - least) * scale + u;
                const real q = code > 0 ? std::min(code, levels) : real(0);  // also of a NaN
                out[(first + k) / each] |= static_cast<std::uint8_t>(
                    static_cast<unsigned>(q) << ((first + k) % each * bits));
            }
        });
    }
    meter().add(5 * value.numel());
}

Tensor Quantised::unpack() const {
    Tensor value(shape_);
    const std::int64_t samples = ranges_.size(0), groups = ranges_.size(1);
    const std::int64_t row = code_bytes(elements_, bits_);
    const auto* const codes = static_cast<const std::uint8_t*>(codes_->data());
    const int each = 8 / bits_;
    const unsigned mask = (1U << bits_) - 1;
#pragma omp parallel for schedule(static) if (value.numel() > (1 << 14))
    for (std::int64_t sample = 0; sample < samples; ++sample)
        for_each_group(elements_, [&](std::int64_t i, std::int64_t first, std::int64_t n) {
            const real* range = ranges_.data() + (sample * groups + i) * 2;
            real* x = value.data() + sample * elements_ + first;
            const std::uint8_t* in = codes + sample * row;
            for (std::int64_t k = 0; k < n; ++k) {
                const unsigned q = in[(first + k) / each] >> ((first + k) % each * bits_) & mask;
                x[k] = range[0] + static_cast<real>(q) * range[1];
            }
        });
    meter().add(2 * value.numel());
    return value;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
