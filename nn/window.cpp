#include "nn/window.h"

#include <algorithm>

#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// Copies the columns of every token between the grid and the windows.
Tensor moved(const Tensor& from, const Windows& w, bool into_windows) {
    const std::int64_t columns = from.size(2), tokens = w.rows * w.columns;
    const std::int64_t batch = from.numel() / std::max<std::int64_t>(tokens * columns, 1);
    Tensor to(into_windows ? Shape{batch * w.count(), w.tokens(), columns}
                           : Shape{batch, tokens, columns});
#pragma omp parallel for schedule(static) if (from.numel() > parallel_threshold)
    for (std::int64_t b = 0; b < batch; ++b)
        for (std::int64_t row = 0; row < w.rows; ++row)
            for (std::int64_t column = 0; column < w.columns; ++column) {
                // Where a token stands after the roll, and there in which window.
                const std::int64_t i = (row - w.shift + w.rows) % w.rows;
                const std::int64_t j = (column - w.shift + w.columns) % w.columns;
                const std::int64_t window = i / w.side * (w.columns / w.side) + j / w.side;
                const std::int64_t inside = i % w.side * w.side + j % w.side;
                const std::int64_t in_grid = (b * w.rows + row) * w.columns + column;
                const std::int64_t in_windows = (b * w.count() + window) * w.tokens() + inside;
                const std::int64_t a = into_windows ? in_grid : in_windows;
                const std::int64_t z = into_windows ? in_windows : in_grid;
                std::copy_n(from.data() + a * columns, columns, to.data() + z * columns);
            }
    meter().add(0);
    return to;
}

// y is x in another order
//   g_x is g in the old one
class WindowFunction final : public Function {
  public:
    WindowFunction(std::string name, const Windows& windows, bool into_windows)
        : name_(std::move(name)), windows_(windows), into_windows_(into_windows) {}
    std::string name() const override { return name_; }
    Tensor forward(std::span<const Tensor> in, Saved&) const override {
        return moved(in[0], windows_, into_windows_);
    }
    std::vector<Grad> backward(const Tensor& gy, const Saved&) const override {
        return {moved(gy, windows_, !into_windows_)};
    }

  private:
    std::string name_;
    Windows windows_;
    bool into_windows_;
};

void check(const std::string& name, const Windows& w) {
    require(w.side > 0 && w.rows > 0 && w.columns > 0 && w.rows % w.side == 0 &&
                w.columns % w.side == 0 && w.shift >= 0 && w.shift < w.side,
            "[{}] expected windows whose side divides the grid, and a shift below it, got {} and "
            "{} for {}x{}",
            name, w.side, w.shift, w.rows, w.columns);
}

}  // namespace

Var to_windows(const std::string& name, const Var& x, const Windows& windows) {
    check(name, windows);
    require(x.value().ndim() == 3 && x.size(1) == windows.rows * windows.columns,
            "[{}] expected (batch, {}, columns), got {}", name, windows.rows * windows.columns,
            shown(x.shape()));
    return x.tape().apply(std::make_shared<WindowFunction>(name, windows, true), {x});
}

Var from_windows(const std::string& name, const Var& x, const Windows& windows) {
    check(name, windows);
    require(
        x.value().ndim() == 3 && x.size(0) % windows.count() == 0 && x.size(1) == windows.tokens(),
        "[{}] expected (a multiple of {}, {}, columns), got {}", name, windows.count(),
        windows.tokens(), shown(x.shape()));
    return x.tape().apply(std::make_shared<WindowFunction>(name, windows, false), {x});
}

Tensor window_mask(const Windows& w) {
    if (w.shift == 0) return {};
    // The roll brings three bands of each axis together: what fills whole windows, what shares the
    // last one, and what came from the other side.
    const auto band = [&](std::int64_t at, std::int64_t length) {
        return at < length - w.side ? 0 : at < length - w.shift ? 1 : 2;
    };
    const std::int64_t n = w.tokens();
    Tensor mask({w.count(), n, n});
    std::vector<int> region(static_cast<std::size_t>(n));
    for (std::int64_t window = 0; window < w.count(); ++window) {
        const std::int64_t top = window / (w.columns / w.side) * w.side;
        const std::int64_t left = window % (w.columns / w.side) * w.side;
        for (std::int64_t i = 0; i < n; ++i)
            region[static_cast<std::size_t>(i)] =
                3 * band(top + i / w.side, w.rows) + band(left + i % w.side, w.columns);
        for (std::int64_t i = 0; i < n; ++i)
            for (std::int64_t j = 0; j < n; ++j)
                mask.data()[(window * n + i) * n + j] =
                    region[static_cast<std::size_t>(i)] == region[static_cast<std::size_t>(j)]
                        ? real(0)
                        : real(-100);
    }
    return mask;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
