#include "tensor/kernels/convolution.h"

#include "tensor/kernels/convolution_kernels.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/lane_sum.h"
#include "tensor/meter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

const ConvolutionKernels& kernels() {
    return onednn_convolution() ? *onednn_convolution() : unfolded_convolution();
}

/// The sizes of a product. Throws Error unless the weight fits the window and the groups.
ConvolutionSizes sizes_of(std::int64_t batch, const Shape& w, const Window2d& window,
                          std::int64_t groups) {
    require(w.size() == 4 && w[2] == window.rows.kernel && w[3] == window.columns.kernel &&
                groups > 0 && w[0] % groups == 0,
            "[convolution] expected a weight (channels, ..., {}, {}) in {} groups, got {}",
            window.rows.kernel, window.columns.kernel, groups, shown(w));
    return {batch, Checked(w[1]) * groups, w[0], groups, window};
}

void check_x(const Tensor& x, const ConvolutionSizes& s) {
    const Shape expected{s.batch, s.channels_in, s.window.rows.length, s.window.columns.length};
    require(x.shape() == expected, "[convolution] expected x of shape {}, got {}", shown(expected),
            shown(x.shape()));
}

void check_gy(const Tensor& gy, const ConvolutionSizes& s) {
    const Shape expected{s.batch, s.channels_out, s.window.rows.positions(),
                         s.window.columns.positions()};
    require(gy.shape() == expected, "[convolution] expected g_y of shape {}, got {}",
            shown(expected), shown(gy.shape()));
}

std::int64_t flops(const ConvolutionSizes& s) {
    return 2 * s.batch * s.window.positions() * s.weights();
}

}  // namespace

Tensor conv_forward(const Tensor& x, const Tensor& w, const Window2d& window, std::int64_t groups) {
    const ConvolutionSizes sizes = sizes_of(x.size(0), w.shape(), window, groups);
    check_x(x, sizes);
    Tensor y({x.size(0), w.size(0), window.rows.positions(), window.columns.positions()});
    if (y.numel() > 0) kernels().forward(sizes, x.data(), w.data(), y.data());
    meter().add(flops(sizes));
    return y;
}

Tensor conv_gw(const Tensor& gy, const Tensor& x, const Shape& w_shape, const Window2d& window,
               std::int64_t groups) {
    const ConvolutionSizes sizes = sizes_of(x.size(0), w_shape, window, groups);
    check_x(x, sizes);
    check_gy(gy, sizes);
    meter().add(flops(sizes));
    if (gy.numel() == 0 || x.numel() == 0) return Tensor::zeros(w_shape);
    Tensor gw(w_shape);
    kernels().gw(sizes, gy.data(), x.data(), gw.data());
    return gw;
}

Tensor conv_gx(const Tensor& gy, const Tensor& w, const Window2d& window, std::int64_t groups) {
    const ConvolutionSizes sizes = sizes_of(gy.size(0), w.shape(), window, groups);
    check_gy(gy, sizes);
    Tensor gx({gy.size(0), sizes.channels_in, window.rows.length, window.columns.length});
    if (gy.numel() > 0 && gx.numel() > 0) kernels().gx(sizes, gy.data(), w.data(), gx.data());
    meter().add(flops(sizes));
    const PhaseScope phase("fold");
    meter().add(window.pointwise() ? 0 : sizes.batch * sizes.channels_in * window.inside());
    return gx;
}

void add_channels_in_place(Tensor& y, const Tensor& b) {
    const std::int64_t channels = y.size(1), planes = y.size(0) * channels;
    require(b.shape() == Shape{channels}, "[add_channels] expected shape ({},), got {}", channels,
            shown(b.shape()));
    const std::int64_t pixels = planes > 0 ? y.numel() / planes : 0;
    real* data = y.data();
    const real* bias = b.data();
#pragma omp parallel for schedule(static) if (y.numel() > parallel_threshold)
    for (std::int64_t plane = 0; plane < planes; ++plane)
        for (std::int64_t i = 0; i < pixels; ++i)
            data[plane * pixels + i] += bias[plane % channels];
    y.changed();
    meter().add(y.numel());
}

Tensor sum_channels(const Tensor& x) {
    const std::int64_t batch = x.size(0), channels = x.size(1);
    const std::int64_t pixels = batch * channels > 0 ? x.numel() / (batch * channels) : 0;
    Tensor y({channels});
    real* out = y.data();
#pragma omp parallel for schedule(static) if (x.numel() > parallel_threshold)
    for (std::int64_t c = 0; c < channels; ++c) {
        LaneSum sum;
        for (std::int64_t b = 0; b < batch; ++b) {
            const real* plane = x.data() + (b * channels + c) * pixels;
            sum.add(0, pixels, [plane](std::int64_t i) { return plane[i]; });
        }
        out[c] = static_cast<real>(sum.total());
    }
    meter().add(x.numel());
    return y;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
