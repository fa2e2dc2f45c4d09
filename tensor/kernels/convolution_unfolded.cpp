#include <omp.h>

#include <algorithm>
#include <vector>

#include "tensor/kernels/convolution_kernels.h"
#include "tensor/kernels/gemm.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// The sizes of one group of a convolution, in elements.
struct Group {
    explicit Group(const ConvolutionSizes& s)
        : cy(s.channels_out / s.groups),
          k(s.channels_in / s.groups * s.window.taps()),
          l(s.window.positions()),
          channels(s.channels_in / s.groups),
          x(channels * s.window.pixels()),
          y(cy * l),
          w(cy * k) {}
    std::int64_t cy, k, l;  // channels out, inner size C/groups·kh·kw, positions
    std::int64_t channels, x, y, w;
};

/// A tensor for each thread of a loop over samples, made before it: nothing may throw inside.
std::vector<Tensor> for_each_thread(const ConvolutionSizes& s, const Shape& shape) {
    std::vector<Tensor> tensors;
    for (int thread = s.batch > 1 ? omp_get_max_threads() : 1; thread > 0; --thread)
        tensors.emplace_back(shape);
    return tensors;
}

Tensor& own(std::vector<Tensor>& tensors) {
    return tensors[static_cast<std::size_t>(omp_get_thread_num())];
}

/// Buffers for one unfolded group; a pointwise window needs none.
std::vector<Tensor> columns_for(const Group& group, const ConvolutionSizes& s) {
    return for_each_thread(s, s.window.pointwise() ? Shape{0} : Shape{group.k, group.l});
}

// y_b = W unfold(x_b)
void forward(const ConvolutionSizes& s, const real* x, const real* w, real* y) {
    const Group group(s);
    const bool pointwise = s.window.pointwise();
    std::vector<Tensor> buffers = columns_for(group, s);
#pragma omp parallel if (s.batch > 1)
    {
        Tensor& columns = own(buffers);
#pragma omp for collapse(2) schedule(static)
        for (std::int64_t b = 0; b < s.batch; ++b)
            for (std::int64_t g = 0; g < s.groups; ++g) {
                const real* image = x + (b * s.groups + g) * group.x;
                if (!pointwise) unfold_sample(group.channels, s.window, image, columns.data());
                // (Cy,K)·(K,L)
                gemm_uncounted(group.cy, group.l, group.k, {w + g * group.w, group.k},
                               {pointwise ? image : columns.data(), group.l},
                               y + (b * s.groups + g) * group.y, group.l);
            }
    }
}

// g_w = Σ_b g_b unfold(x_b)ᵀ
void gw(const ConvolutionSizes& s, const real* gy, const real* x, real* gw) {
    const Group group(s);
    const bool pointwise = s.window.pointwise();
    // Each thread sums over its own samples; the partial sums are added in the order of threads.
    std::vector<Tensor> partial = for_each_thread(s, {s.weights()});
    for (Tensor& sum : partial) std::ranges::fill(sum.values(), real(0));
    std::vector<Tensor> buffers = columns_for(group, s);
#pragma omp parallel if (s.batch > 1)
    {
        Tensor &sum = own(partial), &columns = own(buffers);
#pragma omp for schedule(static)
        for (std::int64_t b = 0; b < s.batch; ++b)
            for (std::int64_t g = 0; g < s.groups; ++g) {
                const real* image = x + (b * s.groups + g) * group.x;
                if (!pointwise) unfold_sample(group.channels, s.window, image, columns.data());
                // (Cy,L)·(L,K)
                gemm_uncounted(group.cy, group.k, group.l,
                               {gy + (b * s.groups + g) * group.y, group.l},
                               {pointwise ? image : columns.data(), group.l, Op::transpose},
                               sum.data() + g * group.w, group.k, 1, 1);
            }
    }
    std::copy_n(partial.front().data(), s.weights(), gw);
    for (std::size_t thread = 1; thread < partial.size(); ++thread)
        for (std::int64_t i = 0; i < s.weights(); ++i) gw[i] += partial[thread].data()[i];
}

// g_x,b = fold(Wᵀ g_b)
void gx(const ConvolutionSizes& s, const real* gy, const real* w, real* gx) {
    const Group group(s);
    const bool pointwise = s.window.pointwise();
    std::vector<Tensor> buffers = columns_for(group, s);
#pragma omp parallel if (s.batch > 1)
    {
        Tensor& columns = own(buffers);
#pragma omp for collapse(2) schedule(static)
        for (std::int64_t b = 0; b < s.batch; ++b)
            for (std::int64_t g = 0; g < s.groups; ++g) {
                real* image = gx + (b * s.groups + g) * group.x;
                real* product = pointwise ? image : columns.data();
                // (K,Cy)·(Cy,L)
                gemm_uncounted(group.k, group.l, group.cy,
                               {w + g * group.w, group.k, Op::transpose},
                               {gy + (b * s.groups + g) * group.y, group.l}, product, group.l);
                if (pointwise) continue;
                std::fill_n(image, group.x, real(0));
                fold_sample(group.channels, s.window, product, image);
            }
    }
}

}  // namespace

const ConvolutionKernels& unfolded_convolution() {
    static constexpr ConvolutionKernels kernels{"unfolded", forward, gw, gx};
    return kernels;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
