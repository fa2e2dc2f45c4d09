#include "nn/silu.h"

#include "tensor/kernels/transcendental.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// y = x s,  s = 1 / (1 + e^-x)
//   g_x = g s (1 + x (1 - s))
class SiLUFunction final : public Function {
  public:
    explicit SiLUFunction(std::string name) : name_(std::move(name)) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        saved.keep(Keep::activation, "x", in[0]);
        Tensor y(in[0].shape());
        silu(y.numel(), in[0].data(), y.data());
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Tensor x = saved.tensor("x");
        Tensor gx(gy.shape());
        silu_backward(gx.numel(), x.data(), gy.data(), gx.data());
        return {gx};
    }

  private:
    std::string name_;
};

}  // namespace

Var SiLU::forward(const Var& x) {
    return x.tape().apply(std::make_shared<SiLUFunction>(path()), {x});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
