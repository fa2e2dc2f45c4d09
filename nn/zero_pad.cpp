#include "nn/zero_pad.h"

#include <algorithm>

#include "tensor/checked.h"
#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// Zeros before and after one axis.
struct Margin {
    std::int64_t before, after;
};

Margin same_margin(std::int64_t size, std::int64_t kernel, std::int64_t stride) {
    const std::int64_t positions = size / stride + (size % stride > 0 ? 1 : 0);
    const std::int64_t all = (Checked(positions) - 1) * stride + kernel;
    const std::int64_t zeros = std::max<std::int64_t>(all - size, 0);
    return {zeros / 2, zeros - zeros / 2};
}

// y is x with zeros around it
//   g_x is g without what lies there
class ZeroPadFunction final : public Function {
  public:
    ZeroPadFunction(std::string name, Shape x, Margin rows, Margin columns)
        : name_(std::move(name)),
          x_(std::move(x)),
          y_{x_[0], x_[1], x_[2] + rows.before + rows.after,
             x_[3] + columns.before + columns.after},
          top_(rows.before),
          left_(columns.before) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved&) const override {
        Tensor y = Tensor::zeros(y_);
        for_each_row([&, from = in[0].data(), to = y.data()](std::int64_t i, std::int64_t j) {
            std::copy_n(from + i, x_[3], to + j);
        });
        meter().add(0);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved&) const override {
        Tensor gx(x_);
        for_each_row([&, from = gy.data(), to = gx.data()](std::int64_t i, std::int64_t j) {
            std::copy_n(from + j, x_[3], to + i);
        });
        meter().add(0);
        return {gx};
    }

  private:
    /// Calls f(i, j) for each row of x, which begins at its element i, and in y at j.
    template <class F>
    void for_each_row(F f) const {
        const std::int64_t planes = x_[0] * x_[1];
#pragma omp parallel for schedule(static) if (numel(x_) > parallel_threshold)
        for (std::int64_t plane = 0; plane < planes; ++plane)
            for (std::int64_t row = 0; row < x_[2]; ++row)
                f((plane * x_[2] + row) * x_[3], (plane * y_[2] + row + top_) * y_[3] + left_);
    }

    std::string name_;
    Shape x_, y_;
    std::int64_t top_, left_;
};

}  // namespace

SamePad2d::SamePad2d(Size2d kernel, Size2d stride) : kernel_(kernel), stride_(stride) {
    require(kernel.rows > 0 && kernel.columns > 0 && stride.rows > 0 && stride.columns > 0,
            "[same_pad2d] kernel and stride must be at least 1");
}

Var SamePad2d::forward(const Var& x) {
    require(x.value().ndim() == 4, "[{}] expected images (batch, channels, height, width), got {}",
            path(), shown(x.shape()));
    const Margin rows = same_margin(x.size(2), kernel_.rows, stride_.rows);
    const Margin columns = same_margin(x.size(3), kernel_.columns, stride_.columns);
    if (rows.after == 0 && columns.after == 0) return x;
    return x.tape().apply(std::make_shared<ZeroPadFunction>(path(), x.shape(), rows, columns), {x});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
