#pragma once

#include "tensor/kernels/im2col.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What the three products of a convolution have in common: x: (B, C, H, W), w: (Cy, C/groups, kh,
/// kw), y: (B, Cy, H', W').
struct ConvolutionSizes {
    std::int64_t batch, channels_in, channels_out, groups;
    Window2d window;

    std::int64_t x_sample() const { return channels_in * window.pixels(); }
    std::int64_t y_sample() const { return channels_out * window.positions(); }
    std::int64_t weights() const { return channels_out * (channels_in / groups) * window.taps(); }
};

/// One way to compute the products of a convolution. All sizes are at least 1; results are written,
/// not added; nothing is counted.
struct ConvolutionKernels {
    const char* name;
    void (*forward)(const ConvolutionSizes& sizes, const real* x, const real* w, real* y);
    void (*gw)(const ConvolutionSizes& sizes, const real* gy, const real* x, real* gw);
    void (*gx)(const ConvolutionSizes& sizes, const real* gy, const real* w, real* gx);
};

/// The plain way, as a product with the unfolded image, one sample at a time: a sample is unfolded
/// into a buffer that stays in the cache, multiplied there and forgotten. Every build has it.
const ConvolutionKernels& unfolded_convolution();

/// By the convolutions of oneDNN, which never unfold; null in a build without oneDNN.
const ConvolutionKernels* onednn_convolution();

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
