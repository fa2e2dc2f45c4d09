// Closed-form costs.

#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

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
        [](const nb::dict& options, const std::vector<std::string>& given) {
            const CostOptions asked = cost_options_from_json(options_json("cost", options));
            return std::pair{cost_document(asked).dump(), without_effect(asked, given)};
        },
        "options"_a, "given"_a,
        "What `slimgrad cost --json` prints, and which of the given options have no effect; see "
        "sg.cost.");
}

}  // namespace slimgrad::runs
