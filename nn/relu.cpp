#include "nn/relu.h"

#include <cmath>

#include "nn/mask.h"
#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// y = max(x, 0), or min(max(x, 0), most)
//   g_x = g where 0 < x, and x < most, else 0
class ReLUFunction final : public Function {
  public:
    explicit ReLUFunction(std::string name, real most = unbounded)
        : name_(std::move(name)), most_(most) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        if (!saved.needs(0))  // NaN passes through
            return map(in[0], std::isnan(most_) ? 1 : 2, [most = most_](real x) {
                return x >= most ? most : x < 0 ? real(0) : x;
            });
        const auto passed = std::make_shared<BitMask>(in[0].numel());
        saved.keep("passed", passed);
        return rectified(in[0], *passed, most_);
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        return {masked(saved.as<BitMask>("passed"), gy)};
    }

  private:
    std::string name_;
    real most_;
};

}  // namespace

Var ReLU::forward(const Var& x) {
    return x.tape().apply(std::make_shared<ReLUFunction>(path()), {x});
}

Var ReLU6::forward(const Var& x) {
    return x.tape().apply(std::make_shared<ReLUFunction>(path(), real(6)), {x});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
