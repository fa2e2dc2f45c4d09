#include "nn/upsample.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// A place of the result along one axis: between two pixels of x, which may be the same.
struct Between {
    std::int64_t first, second;
    real weight;  // of the second
};

std::vector<Between> places(std::int64_t length, std::int64_t factor) {
    std::vector<Between> all;
    for (std::int64_t i = 0; i < length * factor; ++i) {
        const double centre = (static_cast<double>(i) + 0.5) / static_cast<double>(factor) - 0.5;
        const double at = std::max(centre, 0.0);
        const auto first = static_cast<std::int64_t>(at);
        all.push_back({first, std::min(first + 1, length - 1),
                       static_cast<real>(at - static_cast<double>(first))});
    }
    return all;
}

// y_ij = Σ w_i w_j x over two rows and two columns      g_x = Σ w_i w_j g over where x went
class UpsampleFunction final : public Function {
  public:
    UpsampleFunction(std::string name, std::int64_t factor)
        : name_(std::move(name)), factor_(factor) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved&) const override {
        const Tensor& x = in[0];
        Tensor y = Tensor::zeros({x.size(0), x.size(1), factor_ * x.size(2), factor_ * x.size(3)});
        for_each(x.shape(), [&](std::int64_t from, std::int64_t to, real weight) {
            y.data()[to] += weight * x.data()[from];
        });
        meter().add(flops_each * y.numel());
        return y;
    }
    std::vector<Grad> backward(const Tensor& gy, const Saved&) const override {
        Tensor gx =
            Tensor::zeros({gy.size(0), gy.size(1), gy.size(2) / factor_, gy.size(3) / factor_});
        for_each(gx.shape(), [&](std::int64_t to, std::int64_t from, real weight) {
            gx.data()[to] += weight * gy.data()[from];
        });
        meter().add(flops_each * gy.numel());
        return {gx};
    }

  private:
    /// For an element of y: four weights from two, and four products that are added.
    static constexpr std::int64_t flops_each = 6 + 8;

    /// Calls f(place in x, place in y, weight) for all that belongs together, planes in parallel.
    template <class F>
    void for_each(const Shape& x, F f) const {
        const std::int64_t planes = x[0] * x[1], height = x[2], width = x[3];
        const std::vector<Between> rows = places(height, factor_), columns = places(width, factor_);
#pragma omp parallel for schedule(static) if (planes * height * width > parallel_threshold)
        for (std::int64_t plane = 0; plane < planes; ++plane) {
            std::int64_t y = plane * std::ssize(rows) * std::ssize(columns);
            for (const Between& row : rows)
                for (const Between& column : columns) {
                    const std::int64_t above = (plane * height + row.first) * width;
                    const std::int64_t below = (plane * height + row.second) * width;
                    const real r = row.weight, c = column.weight;
                    f(above + column.first, y, (1 - r) * (1 - c));
                    f(above + column.second, y, (1 - r) * c);
                    f(below + column.first, y, r * (1 - c));
                    f(below + column.second, y, r * c);
                    ++y;
                }
        }
    }

    std::string name_;
    std::int64_t factor_;
};

}  // namespace

UpsampleBilinear2d::UpsampleBilinear2d(std::int64_t factor) : factor_(factor) {
    require(factor >= 1, "[upsample_bilinear2d] expected a factor of at least 1, got {}", factor);
}

Var UpsampleBilinear2d::forward(const Var& x) {
    require(x.value().ndim() == 4 && x.size(2) > 0 && x.size(3) > 0,
            "[{}] expected images (batch, channels, height, width), got {}", path(),
            shown(x.shape()));
    return x.tape().apply(std::make_shared<UpsampleFunction>(path(), factor_), {x});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
