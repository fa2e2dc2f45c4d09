#include "nn/drop_path.h"

#include "nn/dropout.h"
#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// y_b = m_b x_b / (1 - p), m_b = 1 with probability 1 - p
//   g_x,b = m_b g_b / (1 - p)
class DropPathFunction final : public Function {
  public:
    DropPathFunction(std::string name, double p, const TapeOptions& options, std::uint32_t draw)
        : name_(std::move(name)), p_(p), options_(options), draw_(draw) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        require(in[0].ndim() > 0, "[{}] expected a batch (B, ...), got a scalar", name_);
        const auto mask = dropout_mask(options_, draw_, p_, in[0].size(0), 1);
        saved.keep("mask", mask);
        return scaled(*mask, in[0]);
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        return {scaled(saved.as<BitMask>("mask"), gy)};
    }

  private:
    Tensor scaled(const BitMask& mask, const Tensor& x) const {
        Tensor y(x.shape());
        const std::int64_t batch = x.size(0), n = batch > 0 ? x.numel() / batch : 0;
        const auto scale = static_cast<real>(1 / (1 - p_));
#pragma omp parallel for schedule(static) if (x.numel() > parallel_threshold)
        for (std::int64_t b = 0; b < batch; ++b) {
            const real factor = mask[b] ? scale : 0;
            const real* from = x.data() + b * n;
            real* to = y.data() + b * n;
            for (std::int64_t i = 0; i < n; ++i) to[i] = factor * from[i];
        }
        meter().add(x.numel());
        return y;
    }

    std::string name_;
    double p_;
    TapeOptions options_;
    std::uint32_t draw_;
};

}  // namespace

DropPath::DropPath(double p) : p_(p) {
    require(p >= 0 && p < 1, "[drop_path] expected a probability from 0 to below 1, got {}", p);
}

Var DropPath::forward(const Var& x) {
    Tape& tape = x.tape();
    if (!tape.training() || p_ == 0) return x;
    return tape.apply(
        std::make_shared<DropPathFunction>(path(), p_, tape.options(), tape.next_draw()), {x});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
