#pragma once

#include <algorithm>
#include <cstdint>

#include "instant/cost/linear_cost.h"
#include "instant/methods/sketch_rule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The products of a call that a sketch may make, as the formulas see them: FLOPs of all samples.
struct SketchWork {
    LinearShape shape{};
    std::int64_t samples = 1;
    SketchOptions sketch{};
    bool gw = true, gx = true;
    Compression x_slot{};  // what keeps x

    std::int64_t axis() const {
        return sketch.side == Side::token ? shape.tokens : shape.out_channels;
    }
    std::int64_t rows(std::int64_t rank) const {
        return std::min(rank + sketch.complement, axis());
    }
    /// Without a sketch: exact, or of what is kept of x.
    Checked left() const;
    /// F and A themselves.
    Checked factors(std::int64_t rank) const;
    Checked g_x(std::int64_t rank) const;
    Checked g_w(std::int64_t rank) const;
    /// The largest rank that is cheaper than none; 0 if none is.
    std::int64_t break_even() const;
};

/// Along which axis a layer's gradients are sketched, and how.
SketchOptions sketch_options(const SketchRule::Options& options, std::int64_t tokens,
                             std::int64_t out_channels);

/// The closed form of a layer. With a tolerance it is that of the first rank.
Compression sketch_compression(const LinearShape& layer, const MethodOptions& options);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
