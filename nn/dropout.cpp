#include "nn/dropout.h"

#include <algorithm>

#include "nn/mask.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/random.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
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

}  // namespace

std::shared_ptr<const BitMask> dropout_mask(const TapeOptions& options, std::uint32_t draw,
                                            double p, std::int64_t batch, std::int64_t n) {
    auto mask = std::make_shared<BitMask>(batch * n);
    std::uint8_t* bytes = mask->bytes();
    std::fill_n(bytes, (batch * n + 7) / 8, std::uint8_t{0});
    const auto threshold = static_cast<std::uint64_t>(p * 0x1p32);  // of the 2³² values of a draw
    const std::string purpose = fmt::format("dropout {}", draw);
    // Samples whose bits share a byte cannot be written by two threads.
#pragma omp parallel for schedule(static) if (n % 8 == 0 && batch * n > parallel_threshold)
    for (std::int64_t b = 0; b < batch; ++b) {
        Stream stream(options.seed, purpose, options.step,
                      static_cast<std::uint32_t>(options.first_sample + b));
        for (std::int64_t i = b * n; i < (b + 1) * n; ++i) {
            const unsigned keep = stream() >= threshold;
            bytes[i / 8] = static_cast<std::uint8_t>(bytes[i / 8] | keep << (i % 8));
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

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
