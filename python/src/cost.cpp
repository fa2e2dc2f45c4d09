// Closed-form costs.

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <nlohmann/json.hpp>

#include "integer.h"
#include "precision.h"
#include "train/cost_document.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace slimgrad::runs {

void bind_cost(nb::module_& core) {
    using Rank = std::optional<Int>;
    const auto optional = [](const Rank& rank) {
        return rank ? std::optional<std::int64_t>(*rank) : std::nullopt;
    };
    core.def(
        "cost_document",
        [optional](const std::string& model, const Int& tokens, const std::string& train_blocks,
                   const std::string& method, const Rank& rank_x, const Rank& rank_g,
                   const std::string& side, const std::string& side_x, const std::string& side_g,
                   const std::string& break_even, const Int& batch, const Int& calibrate_every,
                   const Int& calibrate_batches, const Int& channels, const Int& height,
                   const Int& width, const Int& classes) {
            CostOptions o;
            o.model = model;
            o.tokens = tokens;
            o.channels = channels;
            o.height = height;
            o.width = width;
            o.classes = classes;
            o.train_blocks = train_blocks;
            o.method = method;
            o.rank_x = optional(rank_x);
            o.rank_g = optional(rank_g);
            o.side = side;
            o.side_x = side_x;
            o.side_g = side_g;
            o.break_even = break_even;
            o.batch = batch;
            o.calibrate_every = calibrate_every;
            o.calibrate_batches = calibrate_batches;
            return cost_document(o).dump();
        },
        "model"_a, "tokens"_a, "train_blocks"_a, "method"_a, "rank_x"_a.none(), "rank_g"_a.none(),
        "side"_a, "side_x"_a, "side_g"_a, "break_even"_a, "batch"_a, "calibrate_every"_a,
        "calibrate_batches"_a, "channels"_a, "height"_a, "width"_a, "classes"_a,
        "What `slimgrad cost --json` prints; see sg.cost.");
}

}  // namespace slimgrad::runs
