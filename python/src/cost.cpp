// Closed-form costs.

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <nlohmann/json.hpp>

#include "options_json.h"
#include "precision.h"
#include "train/cost_document.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace slimgrad::runs {

void bind_cost(nb::module_& core) {
    core.def(
        "cost_document",
        [](const nb::dict& options) {
            return cost_document(cost_options_from_json(options_json("cost", options))).dump();
        },
        "options"_a, "What `slimgrad cost --json` prints; see sg.cost.");
}

}  // namespace slimgrad::runs
