#pragma once

#include "nn/batch_norm.h"
#include "nn/conv2d.h"
#include "nn/models/model.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A convolution and the normalisation behind it, which would take a bias away again: most have
/// none.
struct ConvNorm {
    struct Options {
        std::int64_t in, out, kernel, stride = 1, padding = kernel / 2, groups = 1;
        double epsilon = 1e-5, momentum = 0.1;  // of the normalisation
        bool bias = false;
    };
    /// Initial values are drawn from a stream named after the convolution.
    ConvNorm(const Options& o, std::uint64_t seed, const std::string& name)
        : conv(seeded(seed, name,
                      [&](Stream& stream) {
                          return Conv2d(o.in, o.out,
                                        {.kernel = o.kernel,
                                         .stride = o.stride,
                                         .padding = o.padding,
                                         .groups = o.groups,
                                         .bias = o.bias},
                                        stream);
                      })),
          norm(o.out, o.epsilon, o.momentum) {}

    Conv2d conv;
    BatchNorm2d norm;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
