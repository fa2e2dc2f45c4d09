#include "tensor/kernels/convolution.h"

#include <omp.h>

#include <vector>

#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/lane_sum.h"
#include "tensor/meter.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
namespace {

/// The sizes of one group of a convolution.
struct Sizes {
    Sizes(const Shape& w, const Window2d& window, std::int64_t groups)
        : cx(w[1]), cy(w[0] / groups), k(w[1] * window.taps()), l(window.positions()) {}
    std::int64_t cx, cy, k, l;  // channels in and out, inner size C·kh·kw, positions
};

}  // namespace

Tensor conv_forward(const Tensor& x, const Tensor& w, const Window2d& window, std::int64_t groups) {
    const Sizes s(w.shape(), window, groups);
    const std::int64_t batch = x.size(0), pixels = window.pixels();
    Tensor y({batch, w.size(0), window.rows.positions(), window.columns.positions()});
    real* out = y.data();
#pragma omp parallel if (batch > 1)
    {
        Tensor columns(window.pointwise() ? Shape{0} : Shape{s.k, s.l});
#pragma omp for collapse(2) schedule(static)
        for (std::int64_t b = 0; b < batch; ++b)
            for (std::int64_t g = 0; g < groups; ++g) {
                const real* image = x.data() + (b * groups + g) * s.cx * pixels;
                if (!window.pointwise()) unfold_sample(s.cx, window, image, columns.data());
                const real* right = window.pointwise() ? image : columns.data();
                // y_b = W unfold(x_b)      (Cy,K)·(K,L)
                gemm_uncounted(s.cy, s.l, s.k, {w.data() + g * s.cy * s.k, s.k}, {right, s.l},
                               out + (b * groups + g) * s.cy * s.l, s.l);
            }
    }
    meter().add(2 * batch * groups * s.cy * s.l * s.k);
    return y;
}

Tensor conv_gw(const Tensor& gy, const Tensor& x, const Shape& w_shape, const Window2d& window,
               std::int64_t groups) {
    const Sizes s(w_shape, window, groups);
    const std::int64_t batch = x.size(0), pixels = window.pixels();
    // Each thread sums over its own samples; the partial sums are added in the order of threads.
    std::vector<Tensor> partial(static_cast<std::size_t>(omp_get_max_threads()));
#pragma omp parallel if (batch > 1)
    {
        Tensor& gw = partial[static_cast<std::size_t>(omp_get_thread_num())];
        gw = Tensor::zeros(w_shape);
        Tensor columns(window.pointwise() ? Shape{0} : Shape{s.k, s.l});
#pragma omp for schedule(static)
        for (std::int64_t b = 0; b < batch; ++b)
            for (std::int64_t g = 0; g < groups; ++g) {
                const real* image = x.data() + (b * groups + g) * s.cx * pixels;
                if (!window.pointwise()) unfold_sample(s.cx, window, image, columns.data());
                const real* right = window.pointwise() ? image : columns.data();
                // g_w += g_b unfold(x_b)ᵀ      (Cy,L)·(L,K)
                gemm_uncounted(s.cy, s.k, s.l, {gy.data() + (b * groups + g) * s.cy * s.l, s.l},
                               {right, s.l, Op::transpose}, gw.data() + g * s.cy * s.k, s.k, 1, 1);
            }
    }
    meter().add(2 * batch * groups * s.cy * s.l * s.k);
    Tensor gw = partial.front();
    for (std::size_t thread = 1; thread < partial.size() && partial[thread].defined(); ++thread)
        for (std::int64_t i = 0; i < gw.numel(); ++i) gw.data()[i] += partial[thread].data()[i];
    return gw;
}

Tensor conv_gx(const Tensor& gy, const Tensor& w, const Window2d& window, std::int64_t groups) {
    const Sizes s(w.shape(), window, groups);
    const std::int64_t batch = gy.size(0), pixels = window.pixels();
    Tensor gx = Tensor({batch, groups * s.cx, window.rows.length, window.columns.length});
    real* out = gx.data();
#pragma omp parallel if (batch > 1)
    {
        Tensor columns(window.pointwise() ? Shape{0} : Shape{s.k, s.l});
#pragma omp for collapse(2) schedule(static)
        for (std::int64_t b = 0; b < batch; ++b)
            for (std::int64_t g = 0; g < groups; ++g) {
                real* image = out + (b * groups + g) * s.cx * pixels;
                real* product = window.pointwise() ? image : columns.data();
                // unfolded g_x,b = Wᵀ g_b      (K,Cy)·(Cy,L)
                gemm_uncounted(s.k, s.l, s.cy, {w.data() + g * s.cy * s.k, s.k, Op::transpose},
                               {gy.data() + (b * groups + g) * s.cy * s.l, s.l}, product, s.l);
                if (window.pointwise()) continue;
                std::fill_n(image, s.cx * pixels, real(0));
                fold_sample(s.cx, window, product, image);
            }
    }
    meter().add(2 * batch * groups * s.cy * s.l * s.k);
    const PhaseScope phase("fold");
    meter().add(window.pointwise() ? 0 : batch * groups * s.cx * window.inside());
    return gx;
}

void add_channels_in_place(Tensor& y, const Tensor& b) {
    const std::int64_t channels = y.size(1), planes = y.size(0) * channels;
    const std::int64_t pixels = planes > 0 ? y.numel() / planes : 0;
    real* data = y.data();
    const real* bias = b.data();
#pragma omp parallel for schedule(static) if (y.numel() > parallel_threshold)
    for (std::int64_t plane = 0; plane < planes; ++plane)
        for (std::int64_t i = 0; i < pixels; ++i)
            data[plane * pixels + i] += bias[plane % channels];
    meter().add(y.numel());
}

Tensor sum_channels(const Tensor& x) {
    const std::int64_t batch = x.size(0), channels = x.size(1);
    const std::int64_t pixels = batch * channels > 0 ? x.numel() / (batch * channels) : 0;
    Tensor y({channels});
    real* out = y.data();
#pragma omp parallel for schedule(static) if (x.numel() > parallel_threshold)
    for (std::int64_t c = 0; c < channels; ++c) {
        double total = 0;
        for (std::int64_t b = 0; b < batch; ++b) {
            const real* plane = x.data() + (b * channels + c) * pixels;
            total += static_cast<double>(
                lane_sum(0, pixels, [plane](std::int64_t i) { return plane[i]; }));
        }
        out[c] = static_cast<real>(total);
    }
    meter().add(x.numel());
    return y;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
