#include "nn/rounded_derivative.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "tensor/checked.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/meter.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// Eight codes of b bits stand in b bytes.
constexpr std::int64_t codes_at_once = 8, block = 256;

std::int64_t bytes_of(std::int64_t elements, int bits) {
    return (Checked(elements) + codes_at_once - 1) / codes_at_once * bits;
}

}  // namespace

std::int64_t RoundedDerivative::bytes(std::int64_t samples, std::int64_t elements, int bits) {
    return Checked(samples) * bytes_of(elements, bits);
}

RoundedDerivative::RoundedDerivative(const Tensor& d, Bounds bounds, const TapeOptions& tape,
                                     const std::string& layer)
    : bounds_(bounds),
      bits_(tape.derivative_bits),
      samples_(d.ndim() > 0 ? d.size(0) : 1),
      elements_(samples_ > 0 ? d.numel() / samples_ : 0) {
    require(bits_ == 2 || bits_ == 3, "[{}] expected derivatives of 2 or 3 bits, got {}", layer,
            bits_);
    const std::int64_t row = bytes_of(elements_, bits_);
    codes_ = std::make_shared<Storage>(static_cast<std::size_t>(bytes(samples_, elements_, bits_)));
    auto* const codes = static_cast<std::uint8_t*>(codes_->data());
    const int levels = (1 << bits_) - 1;
    const real scale = static_cast<real>(levels) / (bounds.high - bounds.low);
#pragma omp parallel for schedule(static) if (d.numel() > parallel_threshold)
    for (std::int64_t sample = 0; sample < samples_; ++sample) {
        Stream stream(tape.seed, "derivative " + layer, tape.step,
                      static_cast<std::uint32_t>(tape.first_sample + sample));
        std::array<Stream::result_type, block / 2> words;
        std::array<std::uint16_t, block> draws;
        std::array<int, block> rounded{};
        const real* from = d.data() + sample * elements_;
        std::uint8_t* to = codes + sample * row;
        for (std::int64_t first = 0; first < elements_; first += block) {
            const std::int64_t n = std::min(block, elements_ - first);
            stream.fill(words);
            std::memcpy(draws.data(), words.data(), sizeof words);
            for (std::int64_t k = 0; k < n; ++k) {
                const auto i = static_cast<std::size_t>(k);
                const real u = static_cast<real>(draws[i]) * static_cast<real>(0x1p-16);
                const real code = (from[first + k] - bounds.low) * scale + u;
                const real above = code > 0 ? code : real(0);
                rounded[i] = std::min(static_cast<int>(above), levels);
            }
            for (std::int64_t k = 0; k < n; k += codes_at_once) {
                unsigned eight = 0;
                for (std::int64_t j = 0; j < std::min(codes_at_once, n - k); ++j)
                    eight |= static_cast<unsigned>(rounded[static_cast<std::size_t>(k + j)])
                             << (j * bits_);
                for (int byte = 0; byte < bits_; ++byte)
                    *to++ = static_cast<std::uint8_t>(eight >> (8 * byte));
            }
        }
    }
    meter().add(3 * d.numel());
}

void RoundedDerivative::keep(Saved& saved, const Tensor& x, Bounds bounds, const TapeOptions& tape,
                             const std::string& layer,
                             const std::function<Tensor(const Tensor& gy, const Tensor& x)>& gx) {
    if (tape.derivative_bits == 0) return saved.keep(Keep::activation, "x", x);
    if (!saved.needs(0)) return;
    const PhaseScope phase("compress");
    const Tensor derivative = gx(Tensor::full(x.shape(), 1), x);
    saved.keep("derivative",
               std::make_shared<const RoundedDerivative>(derivative, bounds, tape, layer));
}

Tensor RoundedDerivative::times(const Tensor& g) const {
    Tensor product(g.shape());
    const std::int64_t row = bytes_of(elements_, bits_);
    const auto* const codes = static_cast<const std::uint8_t*>(codes_->data());
    const unsigned mask = (1u << bits_) - 1;
    const real step = (bounds_.high - bounds_.low) / static_cast<real>(mask);
#pragma omp parallel for schedule(static) if (g.numel() > parallel_threshold)
    for (std::int64_t sample = 0; sample < samples_; ++sample) {
        const std::uint8_t* from = codes + sample * row;
        const real* in = g.data() + sample * elements_;
        real* out = product.data() + sample * elements_;
        for (std::int64_t k = 0; k < elements_; k += codes_at_once) {
            unsigned eight = 0;
            for (int byte = 0; byte < bits_; ++byte) eight |= unsigned{*from++} << (8 * byte);
            for (std::int64_t j = 0; j < std::min(codes_at_once, elements_ - k); ++j)
                out[k + j] = in[k + j] *
                             (bounds_.low + step * static_cast<real>(eight >> (j * bits_) & mask));
        }
    }
    meter().add(3 * g.numel());
    return product;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
