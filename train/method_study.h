#pragma once

#include <optional>
#include <string>
#include <vector>

#include "instant/lab/draw_study.h"
#include "instant/lab/range_finder.h"
#include "train/snr_study.h"

namespace slimgrad {

/// The gradients of one method at one rank, layer by layer, and what they cost.
struct MethodQuality {
    std::string method;                // its spec
    std::optional<std::int64_t> rank;  // none: of a method without, or whose spec sets it
    std::vector<LayerDraws> layers;
    /// Backward of the linear maps, compression included, and the bytes that they keep, in closed
    /// form, as shares of vanilla's. None of what only a bound is.
    std::optional<double> flops, bytes;
};

struct MethodStudy {
    struct Layer {
        std::string name;
        std::vector<RangeFinderLoss> losses;  // one for each rank
    };
    std::vector<Layer> layers;          // of which the gradients have more than one direction
    std::vector<std::string> rank_one;  // those left out
    std::vector<MethodQuality> points;
};

struct MethodStudyOptions {
    std::vector<std::string> methods{"instant", "random", "sketch:power=0", "sketch"};  // specs
    std::vector<std::int64_t> ranks{4, 8, 12, 16};
    std::int64_t draws = 8;
    RunStudyOptions study;
};

/// Error, bias and variance of the gradients of several methods, on the same fresh batches of a
/// run: each layer alone, with its exact x and g_y. A method is tried at every rank, unless its
/// spec says one. Beside them the optimum: each sample's own leading singular vectors. Throws Error
/// for a method that changes the model or the optimiser alone.
MethodStudy method_study(RunProbe& run, const MethodStudyOptions& options);

}  // namespace slimgrad
