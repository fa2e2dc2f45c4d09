#include "nn/gelu.h"

#include "tensor/kernels/transcendental.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// erf:  y = x Φ(x),  Φ(x) = (1 + erf(x / √2)) / 2
//   g_x = g (Φ(x) + x φ(x))
// tanh: y = x (1 + t) / 2,  t = tanh(√(2/π) (x + 0.044715 x³))
//   g_x = g (1 + t + x (1 - t²) √(2/π) (1 + 3 · 0.044715 x²)) / 2
class GELUFunction final : public Function {
  public:
    GELUFunction(std::string name, GELU::Form form) : name_(std::move(name)), form_(form) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        saved.keep(Keep::activation, "x", in[0]);
        Tensor y(in[0].shape());
        const auto kernel = form_ == GELU::Form::erf ? gelu_erf : gelu_tanh;
        kernel(y.numel(), in[0].data(), y.data());
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Tensor x = saved.tensor("x");
        Tensor gx(gy.shape());
        const auto kernel = form_ == GELU::Form::erf ? gelu_erf_backward : gelu_tanh_backward;
        kernel(gx.numel(), x.data(), gy.data(), gx.data());
        return {gx};
    }

  private:
    std::string name_;
    GELU::Form form_;
};

}  // namespace

Var GELU::forward(const Var& x) {
    return x.tape().apply(std::make_shared<GELUFunction>(path(), form_), {x});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
