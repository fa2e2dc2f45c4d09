#include "nn/dropout.h"

#include <algorithm>
#include <array>

#include "nn/mask.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// y = m ∘ x / (1 - p), m_i = 1 with probability 1 - p
//   g_x = m ∘ g / (1 - p)
class DropoutFunction final : public Function {
  public:
    DropoutFunction(std::string name, double p, const TapeOptions& options, std::uint32_t draw)
        : name_(std::move(name)), p_(p), options_(options), draw_(draw) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        require(in[0].ndim() > 0, "[{}] expected a batch (B, ...), got a scalar", name_);
        const std::int64_t batch = in[0].size(0);
        const auto mask =
            dropout_mask(options_, draw_, p_, batch, batch > 0 ? in[0].numel() / batch : 0);
        saved.keep("mask", mask);
        return masked(*mask, in[0], factor());
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        return {masked(saved.as<BitMask>("mask"), gy, factor())};
    }

  private:
    real factor() const { return p_ < 1 ? static_cast<real>(1 / (1 - p_)) : 0; }

    std::string name_;
    double p_;
    TapeOptions options_;
    std::uint32_t draw_;
};

constexpr std::int64_t draws_at_once = 512;

/// Sets bits first … first + n - 1 where the stream's draws reach the threshold.
void set_bits(Stream& stream, std::uint32_t threshold, std::uint8_t* bytes, std::int64_t first,
              std::int64_t n) {
    std::array<std::uint32_t, draws_at_once> draws;
    stream.fill({draws.data(), static_cast<std::size_t>(n)});
    std::int64_t i = 0;
    const auto set_one = [&] {
        const unsigned keep = draws[static_cast<std::size_t>(i)] >= threshold;
        std::uint8_t& byte = bytes[(first + i) / 8];
        byte = static_cast<std::uint8_t>(byte | keep << ((first + i) % 8));
        ++i;
    };
    while (i < n && (first + i) % 8 != 0) set_one();
    for (; i + 8 <= n; i += 8) {
        unsigned byte = 0;
        for (unsigned bit = 0; bit < 8; ++bit)
            byte |= unsigned{draws[static_cast<std::size_t>(i) + bit] >= threshold} << bit;
        bytes[(first + i) / 8] = static_cast<std::uint8_t>(byte);
    }
    while (i < n) set_one();
}

}  // namespace

std::shared_ptr<const BitMask> dropout_mask(const TapeOptions& options, std::uint32_t draw,
                                            double p, std::int64_t batch, std::int64_t n) {
    auto mask = std::make_shared<BitMask>(batch * n);
    std::uint8_t* bytes = mask->bytes();
    std::fill_n(bytes, (batch * n + 7) / 8, std::uint8_t{0});
    if (p < 1) {
        const auto threshold = static_cast<std::uint32_t>(p * 0x1p32);
        const std::string purpose = fmt::format("dropout {}", draw);
        // Samples whose bits share a byte cannot be written by two threads.
#pragma omp parallel for schedule(static) if (n % 8 == 0 && batch * n > parallel_threshold)
        for (std::int64_t b = 0; b < batch; ++b) {
            Stream stream(options.seed, purpose, options.step,
                          static_cast<std::uint32_t>(options.first_sample + b));
            for (std::int64_t i = b * n; i < (b + 1) * n; i += draws_at_once)
                set_bits(stream, threshold, bytes, i, std::min(draws_at_once, (b + 1) * n - i));
        }
    }
    meter().add(batch * n);
    return mask;
}

Dropout::Dropout(double p) : p_(p) {
    require(p >= 0 && p <= 1, "[dropout] expected a probability from 0 to 1, got {}", p);
}

Var Dropout::forward(const Var& x) {
    Tape& tape = x.tape();
    if (!tape.training() || p_ == 0) return x;
    return tape.apply(
        std::make_shared<DropoutFunction>(path(), p_, tape.options(), tape.next_draw()), {x});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
