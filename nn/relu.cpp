#include "nn/relu.h"

#include "nn/mask.h"
#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// y = max(x, 0)
//   g_x = g where x > 0, else 0
class ReLUFunction final : public Function {
  public:
    explicit ReLUFunction(std::string name) : name_(std::move(name)) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        if (!saved.needs(0))
            return map(in[0], 1, [](real x) { return x < 0 ? real(0) : x; });  // NaN passes through
        const auto positive = std::make_shared<BitMask>(in[0].numel());
        saved.keep("positive", positive);
        return rectified(in[0], *positive);
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        return {masked(saved.as<BitMask>("positive"), gy)};
    }

  private:
    std::string name_;
};

}  // namespace

Var ReLU::forward(const Var& x) {
    return x.tape().apply(std::make_shared<ReLUFunction>(path()), {x});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
