#include "nn/softmax.h"

#include "tensor/kernels/softmax.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// y_i = e^x_i / Σ_j e^x_j
//   g_x = y ∘ (g - Σ_j g_j y_j)
class SoftmaxFunction final : public Function {
  public:
    explicit SoftmaxFunction(std::string name) : name_(std::move(name)) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        require(in[0].ndim() > 0, "[{}] expected at least one axis, got a scalar", name_);
        Tensor y = softmax(in[0]);
        saved.keep(Keep::activation, "y", y);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Tensor y = saved.tensor("y");
        Tensor gx(gy.shape());
        const std::int64_t n = gy.size(-1), rows = n > 0 ? gy.numel() / n : 0;
#pragma omp parallel for schedule(static) if (gy.numel() > parallel_threshold)
        for (std::int64_t r = 0; r < rows; ++r)
            softmax_rows_backward(1, n, y.data() + r * n, gy.data() + r * n, gx.data() + r * n);
        meter().add(4 * gy.numel());
        return {gx};
    }

  private:
    std::string name_;
};

}  // namespace

Var Softmax::forward(const Var& x) {
    return x.tape().apply(std::make_shared<SoftmaxFunction>(path()), {x});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
