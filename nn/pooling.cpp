#include "nn/pooling.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/lane_sum.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// Calls visit(output, tap, input) for every tap inside the image, windows in order, taps in order
/// within their window.
template <class Visit>
void for_each_tap(const Window2d& window, Visit visit) {
    const WindowAxis &rows = window.rows, &columns = window.columns;
    const std::int64_t height = rows.positions(), width = columns.positions();
    for (std::int64_t row = 0, output = 0; row < height; ++row)
        for (std::int64_t column = 0; column < width; ++column, ++output)
            for (std::int64_t i = 0; i < rows.kernel; ++i) {
                const std::int64_t h = rows.input(row, i);
                if (h < 0 || h >= rows.length) continue;
                for (std::int64_t j = 0; j < columns.kernel; ++j) {
                    const std::int64_t w = columns.input(column, j);
                    if (w < 0 || w >= columns.length) continue;
                    visit(output, i * columns.kernel + j, h * columns.length + w);
                }
            }
}

/// Calls f(plane) for each of the B·C planes, in parallel where that is worth it.
template <class F>
void for_each_plane(const Tensor& x, F f) {
    const std::int64_t planes = x.size(0) * x.size(1);
#pragma omp parallel for schedule(static) if (x.numel() > parallel_threshold)
    for (std::int64_t plane = 0; plane < planes; ++plane) f(plane);
}

class Pool2dFunction : public Function {
  public:
    Pool2dFunction(std::string name, const Window2d& window)
        : name_(std::move(name)), window_(window) {}
    std::string name() const override { return name_; }

  protected:
    Shape output_shape(const Tensor& x) const {
        return {x.size(0), x.size(1), window_.rows.positions(), window_.columns.positions()};
    }
    Shape input_shape(const Tensor& y) const {
        return {y.size(0), y.size(1), window_.rows.length, window_.columns.length};
    }
    /// FLOPs of one operation for each tap that sees a pixel of x: (B, C, ...).
    std::int64_t per_tap(const Tensor& x) const { return x.size(0) * x.size(1) * window_.inside(); }

    std::string name_;
    Window2d window_;
};

// y_o = Σ_t x_(o,t) / k_o    g_x = Σ over the windows that see the pixel of g_o / k_o
// k_o: the taps of the window, or those of them inside the image
class AvgPool2dFunction final : public Pool2dFunction {
  public:
    AvgPool2dFunction(std::string name, const Window2d& window, bool count_include_pad)
        : Pool2dFunction(std::move(name), window),
          shares_(static_cast<std::size_t>(window.positions()),
                  1 / static_cast<real>(window.taps())) {
        if (count_include_pad) return;
        std::ranges::fill(shares_, real(0));
        for_each_tap(window, [&](std::int64_t output, std::int64_t, std::int64_t) {
            shares_[static_cast<std::size_t>(output)] += 1;
        });
        for (real& share : shares_) share = 1 / share;
    }

    Tensor forward(std::span<const Tensor> in, Saved&) const override {
        const Tensor& x = in[0];
        Tensor y = Tensor::zeros(output_shape(x));
        real* out = y.data();
        const std::int64_t outputs = window_.positions();
        const real* const shares = shares_.data();
        for_each_plane(x, [&](std::int64_t plane) {
            const real* from = x.data() + plane * window_.pixels();
            real* to = out + plane * outputs;
            for_each_tap(window_, [&](std::int64_t output, std::int64_t, std::int64_t input) {
                to[output] += from[input];
            });
            for (std::int64_t o = 0; o < outputs; ++o) to[o] *= shares[o];
        });
        meter().add(per_tap(x) + y.numel());
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved&) const override {
        Tensor gx = Tensor::zeros(input_shape(gy));
        real* out = gx.data();
        const real* const shares = shares_.data();
        for_each_plane(gx, [&](std::int64_t plane) {
            const real* from = gy.data() + plane * window_.positions();
            real* to = out + plane * window_.pixels();
            for_each_tap(window_, [&](std::int64_t output, std::int64_t, std::int64_t input) {
                to[input] += shares[output] * from[output];
            });
        });
        meter().add(2 * per_tap(gy));
        return {gx};
    }

  private:
    std::vector<real> shares_;  // 1 / k_o
};

/// The tap that won each window, two bytes each.
class Winners final : public Packed {
  public:
    explicit Winners(std::int64_t size)
        : storage_(std::make_shared<Storage>(static_cast<std::size_t>(size) * sizeof(Tap))) {}
    using Tap = std::uint16_t;
    Tap* taps() { return static_cast<Tap*>(storage_->data()); }
    const Tap* taps() const { return static_cast<const Tap*>(storage_->data()); }
    std::vector<std::shared_ptr<Storage>> held() const override { return {storage_}; }

  private:
    std::shared_ptr<Storage> storage_;
};

// y_o = max_t x_(o,t)      g_x = Σ over the windows that the pixel has won of g_o
class MaxPool2dFunction final : public Pool2dFunction {
  public:
    using Pool2dFunction::Pool2dFunction;

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        const Tensor& x = in[0];
        const std::int64_t outputs = window_.positions();
        Tensor y = Tensor::full(output_shape(x), -std::numeric_limits<real>::infinity());
        real* out = y.data();
        const auto winners = std::make_shared<Winners>(y.numel());
        for_each_plane(x, [&](std::int64_t plane) {
            const real* from = x.data() + plane * window_.pixels();
            real* best = out + plane * outputs;
            Winners::Tap* winner = winners->taps() + plane * outputs;
            std::int64_t last = -1;  // the window whose taps are being compared
            for_each_tap(window_, [&](std::int64_t output, std::int64_t tap, std::int64_t input) {
                const real value = from[input];
                if (output == last && !(value > best[output]) && !std::isnan(value)) return;
                last = output;
                best[output] = value;
                winner[output] = static_cast<Winners::Tap>(tap);
            });
        });
        meter().add(per_tap(x));
        saved.keep("winners", winners);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const auto& winners = saved.as<Winners>("winners");
        const WindowAxis &rows = window_.rows, &columns = window_.columns;
        const std::int64_t outputs = window_.positions(), width = columns.positions();
        Tensor gx = Tensor::zeros(input_shape(gy));
        real* out = gx.data();
        for_each_plane(gy, [&](std::int64_t plane) {
            const real* from = gy.data() + plane * outputs;
            const Winners::Tap* winner = winners.taps() + plane * outputs;
            real* to = out + plane * window_.pixels();
            for (std::int64_t o = 0; o < outputs; ++o) {
                const std::int64_t h = rows.input(o / width, winner[o] / columns.kernel);
                const std::int64_t w = columns.input(o % width, winner[o] % columns.kernel);
                to[h * columns.length + w] += from[o];
            }
        });
        meter().add(gy.numel());
        return {gx};
    }
};

// y = Σ x / n over the n pixels of a channel      g_x = g / n at each of them
class GlobalAvgPool2dFunction final : public Function {
  public:
    GlobalAvgPool2dFunction(std::string name, Shape shape)
        : name_(std::move(name)), shape_(std::move(shape)) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved&) const override {
        const Tensor& x = in[0];
        Tensor y({shape_[0], shape_[1]});
        real* out = y.data();
        const std::int64_t pixels = shape_[2] * shape_[3];
        for_each_plane(x, [&](std::int64_t plane) {
            const real* from = x.data() + plane * pixels;
            LaneSum sum;
            sum.add(0, pixels, [from](std::int64_t i) { return from[i]; });
            out[plane] = static_cast<real>(sum.total()) / static_cast<real>(pixels);
        });
        meter().add(x.numel() + y.numel());
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved&) const override {
        Tensor gx(shape_);
        real* out = gx.data();
        const std::int64_t pixels = shape_[2] * shape_[3];
        for_each_plane(gx, [&](std::int64_t plane) {
            std::fill_n(out + plane * pixels, pixels, gy.data()[plane] / static_cast<real>(pixels));
        });
        meter().add(gy.numel());
        return {gx};
    }

  private:
    std::string name_;
    Shape shape_;
};

}  // namespace

Pool2d::Pool2d(const char* kind, const PoolOptions& options) : options_(options) {
    constexpr std::int64_t most_taps = std::numeric_limits<Winners::Tap>::max();
    if (options.stride.rows == 0 && options.stride.columns == 0) options_.stride = options.kernel;
    const auto good = [](std::int64_t kernel, std::int64_t stride, std::int64_t padding) {
        return kernel > 0 && stride > 0 && padding >= 0 && padding <= kernel / 2;
    };
    const PoolOptions& o = options_;
    require(good(o.kernel.rows, o.stride.rows, o.padding.rows) &&
                good(o.kernel.columns, o.stride.columns, o.padding.columns) &&
                Checked(o.kernel.rows) * o.kernel.columns <= most_taps,
            "[{}] kernel and stride must be at least 1, padding at most half a kernel and a kernel "
            "at most {} pixels, got kernel {}x{}, stride {}x{}, padding {}x{}",
            kind, most_taps, o.kernel.rows, o.kernel.columns, o.stride.rows, o.stride.columns,
            o.padding.rows, o.padding.columns);
}

Window2d Pool2d::window_on(const Var& x) const {
    require(x.value().ndim() == 4, "[{}] expected images (batch, channels, height, width), got {}",
            path(), shown(x.shape()));
    return make_window(path(), x.size(2), x.size(3), options_.kernel, options_.stride,
                       options_.padding);
}

Var AvgPool2d::forward(const Var& x) {
    return x.tape().apply(
        std::make_shared<AvgPool2dFunction>(path(), window_on(x), options().count_include_pad),
        {x});
}

Var MaxPool2d::forward(const Var& x) {
    return x.tape().apply(std::make_shared<MaxPool2dFunction>(path(), window_on(x)), {x});
}

Var GlobalAvgPool2d::forward(const Var& x) {
    require(x.value().ndim() == 4 && x.size(2) * x.size(3) > 0,
            "[{}] expected images (batch, channels, height, width), got {}", path(),
            shown(x.shape()));
    return x.tape().apply(std::make_shared<GlobalAvgPool2dFunction>(path(), x.shape()), {x});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
