#include "tensor/kernels/im2col.h"

#include <algorithm>

#include "tensor/kernels/elementwise.h"
#include "tensor/meter.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return a > 0 ? (a - 1) / b + 1 : 0; }

}  // namespace

std::int64_t WindowAxis::positions() const {
    const std::int64_t room = length + 2 * Checked(padding) - dilation * (Checked(kernel) - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

WindowAxis::Range WindowAxis::inside(std::int64_t tap) const {
    const std::int64_t shift = padding - tap * dilation;  // input = position·stride − shift
    const std::int64_t end = std::min(positions(), divide_up(length + shift, stride));
    return {std::min(divide_up(shift, stride), end), end};
}

std::int64_t WindowAxis::inside() const {
    std::int64_t count = 0;
    for (std::int64_t tap = 0; tap < kernel; ++tap) count += inside(tap).end - inside(tap).begin;
    return count;
}

bool Window2d::pointwise() const {
    const auto own = [](const WindowAxis& axis) {
        return axis.kernel == 1 && axis.stride == 1 && axis.padding == 0;
    };
    return own(rows) && own(columns);
}

Tensor im2col(const Tensor& x, const Window2d& window) {
    const WindowAxis &rows = window.rows, &columns = window.columns;
    require(x.ndim() == 4 && x.size(2) == rows.length && x.size(3) == columns.length,
            "[im2col] expected images (B, C, {}, {}), got {}", rows.length, columns.length,
            shown(x.shape()));
    const std::int64_t batch = x.size(0), channels = x.size(1), positions = window.positions();
    const std::int64_t height = rows.positions(), width = columns.positions();
    if (window.pointwise())
        return transpose(x.reshape({batch, channels, window.pixels()}), {0, 2, 1});

    Tensor y({batch, positions, Checked(channels) * window.taps()});
    const real* in = x.data();
    real* out = y.data();
#pragma omp parallel for collapse(2) schedule(static) if (y.numel() > parallel_threshold)
    for (std::int64_t b = 0; b < batch; ++b)
        for (std::int64_t row = 0; row < height; ++row) {
            real* to = out + (b * positions + row * width) * y.size(2);
            for (std::int64_t column = 0; column < width; ++column)
                for (std::int64_t c = 0; c < channels; ++c)
                    for (std::int64_t i = 0; i < rows.kernel; ++i) {
                        const std::int64_t h = rows.input(row, i), w = columns.input(column, 0);
                        const real* from =
                            in + ((b * channels + c) * rows.length + h) * columns.length + w;
                        const bool inside = h >= 0 && h < rows.length;
                        for (std::int64_t j = 0, k = w; j < columns.kernel;
                             ++j, k += columns.dilation)
                            *to++ = inside && k >= 0 && k < columns.length ? from[k - w] : 0;
                    }
        }
    meter().add(0);
    return y;
}

Tensor col2im(const Tensor& columns, const Window2d& window) {
    require(columns.ndim() == 3 && columns.size(1) == window.positions() &&
                columns.size(2) % window.taps() == 0,
            "[col2im] expected (B, {}, a multiple of {}), got {}", window.positions(),
            window.taps(), shown(columns.shape()));
    const std::int64_t batch = columns.size(0), channels = columns.size(2) / window.taps();
    const WindowAxis &vertical = window.rows, &horizontal = window.columns;
    const std::int64_t height = vertical.positions(), width = horizontal.positions();
    const Shape shape{batch, channels, vertical.length, horizontal.length};
    if (window.pointwise()) return transpose(columns, {0, 2, 1}).reshape(shape);

    Tensor x = Tensor::zeros(shape);
    const real* in = columns.data();
    real* out = x.data();
    // A sample belongs to one thread, which adds in a fixed order.
#pragma omp parallel for schedule(static) if (columns.numel() > parallel_threshold)
    for (std::int64_t b = 0; b < batch; ++b) {
        const real* from = in + b * columns.size(1) * columns.size(2);
        for (std::int64_t row = 0; row < height; ++row)
            for (std::int64_t column = 0; column < width; ++column)
                for (std::int64_t c = 0; c < channels; ++c)
                    for (std::int64_t i = 0; i < vertical.kernel; ++i) {
                        const std::int64_t h = vertical.input(row, i),
                                           w = horizontal.input(column, 0);
                        real* to = out +
                                   ((b * channels + c) * vertical.length + h) * horizontal.length +
                                   w;
                        const bool inside = h >= 0 && h < vertical.length;
                        for (std::int64_t j = 0, k = w; j < horizontal.kernel;
                             ++j, k += horizontal.dilation, ++from)
                            if (inside && k >= 0 && k < horizontal.length) to[k - w] += *from;
                    }
    }
    meter().add(batch * channels * window.inside());
    return x;
}

namespace {

/// Visits the taps (i, j) of a window. For each the positions [top, bottom) x [left, right) see
/// pixels inside the image; `first` is the pixel that (top, left) sees.
template <class Visit>
void for_each_tap(const Window2d& window, Visit visit) {
    const WindowAxis &rows = window.rows, &columns = window.columns;
    for (std::int64_t i = 0; i < rows.kernel; ++i)
        for (std::int64_t j = 0; j < columns.kernel; ++j) {
            const WindowAxis::Range vertical = rows.inside(i), horizontal = columns.inside(j);
            const std::int64_t first =
                rows.input(vertical.begin, i) * columns.length + columns.input(horizontal.begin, j);
            visit(i * columns.kernel + j, vertical, horizontal, first);
        }
}

/// Positions lie under their pixels, so all that a tap sees is one run of pixels, whose ends wrap
/// around the sides of the image.
bool is_shift(const Window2d& window) {
    return window.rows.stride == 1 && window.columns.stride == 1 &&
           window.columns.positions() == window.columns.length;
}

/// Zeros the entries of the rows [top, bottom) that lie beside the image.
void clear_sides(std::int64_t width, WindowAxis::Range rows, WindowAxis::Range columns, real* y) {
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
        for (std::int64_t k = 0; k < columns.begin; ++k) y[row * width + k] = 0;
        for (std::int64_t k = columns.end; k < width; ++k) y[row * width + k] = 0;
    }
}

}  // namespace

void unfold_sample(std::int64_t channels, const Window2d& window, const real* x, real* columns) {
    const std::int64_t height = window.rows.positions(), width = window.columns.positions();
    const std::int64_t length = window.columns.length, stride = window.columns.stride;
    const bool shift = is_shift(window);
    for_each_tap(window, [&](std::int64_t tap, WindowAxis::Range vertical,
                             WindowAxis::Range horizontal, std::int64_t first) {
        const auto [top, bottom] = vertical;
        const auto [left, right] = horizontal;
        for (std::int64_t c = 0; c < channels; ++c) {
            real* to = columns + (c * window.taps() + tap) * height * width;
            const real* from = x + c * window.pixels() + first;
            std::fill_n(to, top * width, real(0));
            std::fill(to + bottom * width, to + height * width, real(0));
            if (top == bottom) continue;
            if (shift && left < right) {
                std::copy_n(from, (bottom - top - 1) * width + right - left,
                            to + top * width + left);
            } else {
                for (std::int64_t row = top; row < bottom; ++row) {
                    const real* pixel = from + (row - top) * window.rows.stride * length;
                    for (std::int64_t k = left; k < right; ++k, pixel += stride)
                        to[row * width + k] = *pixel;
                }
            }
            clear_sides(width, vertical, horizontal, to);
        }
    });
}

void fold_sample(std::int64_t channels, const Window2d& window, real* columns, real* x) {
    const std::int64_t height = window.rows.positions(), width = window.columns.positions();
    const std::int64_t length = window.columns.length, stride = window.columns.stride;
    const bool shift = is_shift(window);
    for_each_tap(window, [&](std::int64_t tap, WindowAxis::Range vertical,
                             WindowAxis::Range horizontal, std::int64_t first) {
        const auto [top, bottom] = vertical;
        const auto [left, right] = horizontal;
        if (top == bottom || left == right) return;
        for (std::int64_t c = 0; c < channels; ++c) {
            real* from = columns + (c * window.taps() + tap) * height * width;
            real* to = x + c * window.pixels() + first;
            if (shift) {
                clear_sides(width, vertical, horizontal, from);
                from += top * width + left;
                const std::int64_t run = (bottom - top - 1) * width + right - left;
                for (std::int64_t k = 0; k < run; ++k) to[k] += from[k];
            } else {
                for (std::int64_t row = top; row < bottom; ++row) {
                    real* pixel = to + (row - top) * window.rows.stride * length;
                    for (std::int64_t k = left; k < right; ++k, pixel += stride)
                        *pixel += from[row * width + k];
                }
            }
        }
    });
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
