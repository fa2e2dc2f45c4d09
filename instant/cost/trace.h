#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nn/linear_map.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The geometry of one linear map y = x Wᵀ in one execution, for one sample: x (L, Cx), W (Cy, Cx).
struct LinearShape {
    std::string name;
    std::int64_t tokens = 1;        // L
    std::int64_t in_channels = 1;   // Cx (C·kh·kw for a convolution)
    std::int64_t out_channels = 1;  // Cy
    /// Elements that vanilla keeps of x: L·Cx, or the raw C·H·W of a convolution.
    std::int64_t held_elements = 1;
    /// Layers that multiply the same x carry the same name here.
    std::string input_group;
    bool needs_gx = true;
    bool needs_gw = true;
    /// False where no method compresses: grouped convolutions and heads.
    bool compressible = true;
    /// The tokens as the model states them (TokenLayout): 0 where they are no image.
    std::int64_t rows = 0, columns = 0, extra = 0;
    /// How a convolution reads its image.
    std::optional<Window2d> window{};
    /// Layers that keep the same buffer where x is kept exact carry the same name here; empty means
    /// input_group. A 1x1 convolution and the shortcut beside it keep one image but unfold it
    /// differently.
    std::string held_group{};
    /// The output projection of an attention, which CompAct leaves exact.
    bool attention_output = false;
    /// How many maps the rows of W are: 3 where q, k and v are one layer.
    std::int64_t parts = 1;
    /// W is frozen, and an adapter trains beside it.
    bool adapted = false;
};

/// Runs `forward` once (a training forward of the model on any batch, recorded) and reports every
/// linear map that it executed, in order of execution. Rules are put back afterwards, also after an
/// exception.
std::vector<LinearShape> trace_linear_maps(Module& model, const std::function<void()>& forward);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
