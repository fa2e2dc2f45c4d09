#include "nn/silu.h"

#include "nn/rounded_derivative.h"
#include "tensor/kernels/transcendental.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// y = x s,  s = 1 / (1 + e^-x)
//   g_x = g s (1 + x (1 - s))
// Kept: x, or the derivative in few bits, as the tape says.
class SiLUFunction final : public Function {
  public:
    SiLUFunction(std::string name, TapeOptions tape)
        : name_(std::move(name)), tape_(std::move(tape)) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        constexpr RoundedDerivative::Bounds bounds{real(-0.1), real(1.1)};  // -0.0998 … 1.0998
        RoundedDerivative::keep(saved, in[0], bounds, tape_, name_,
                                [&](const Tensor& gy, const Tensor& x) { return gx(gy, x); });
        Tensor y(in[0].shape());
        silu(y.numel(), in[0].data(), y.data());
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        if (saved.has("derivative")) return {saved.as<RoundedDerivative>("derivative").times(gy)};
        return {gx(gy, saved.tensor("x"))};
    }

  private:
    Tensor gx(const Tensor& gy, const Tensor& x) const {
        Tensor gx(gy.shape());
        silu_backward(gx.numel(), x.data(), gy.data(), gx.data());
        return gx;
    }

    std::string name_;
    TapeOptions tape_;
};

}  // namespace

Var SiLU::forward(const Var& x) {
    return x.tape().apply(std::make_shared<SiLUFunction>(path(), x.tape().options()), {x});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
