// Comparison with finite differences.

#include "nn/gradcheck.h"

#include "bind.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

GradcheckOptions options_of(std::optional<double> step, std::optional<double> tolerance,
                            Int max_elements, Natural seed) {
    GradcheckOptions options;
    if (step) options.step = *step;
    if (tolerance) options.tolerance = *tolerance;
    options.max_elements = max_elements;
    options.seed = seed;
    return options;
}

std::vector<Tensor> to_tensors(const nb::list& values) {
    std::vector<Tensor> tensors;
    for (const nb::handle value : values) tensors.push_back(to_tensor(value, "gradcheck"));
    return tensors;
}

/// f(tape, inputs) in Python. The tape is C++'s own and lives only during the call.
TapeFunction to_function(const nb::callable& f) {
    return [f](Tape& tape, const std::vector<Var>& inputs) {
        const nb::gil_scoped_acquire gil;
        nb::list list;
        for (const Var& input : inputs) list.append(nb::cast(input));
        return to_var(f(nb::cast(&tape, nb::rv_policy::reference), list), "gradcheck");
    };
}

}  // namespace

void bind_gradcheck(nb::module_&, nb::module_& here) {
    nb::class_<GradcheckReport>(here, "GradcheckReport", "What gradcheck found.")
        .def_ro("max_error", &GradcheckReport::max_error, "The largest relative error.")
        .def_ro("checked", &GradcheckReport::checked, "Elements compared.")
        .def_ro("skipped", &GradcheckReport::skipped, "Elements at a kink, as ReLU has at 0.")
        .def(
            "__repr__",
            [](const GradcheckReport& r) {
                return fmt::format("GradcheckReport(max_error={:.3g}, checked={}, skipped={})",
                                   r.max_error, r.checked, r.skipped);
            },
            "The three numbers.");
    here.def(
        "gradcheck_module",
        [](nb::handle module, nb::handle x, std::optional<double> step,
           std::optional<double> tolerance, const Int& max_elements, const Natural& seed) {
            return gradcheck(to_module(module), to_tensor(x, "gradcheck"),
                             options_of(step, tolerance, max_elements, seed));
        },
        "module"_a, "x"_a.none(), "step"_a, "tolerance"_a, "max_elements"_a, "seed"_a,
        "Checks a module's input and parameters.");
    here.def(
        "gradcheck_function",
        [](const std::string& name, const nb::callable& f, const nb::list& inputs,
           std::optional<double> step, std::optional<double> tolerance, const Int& max_elements,
           const Natural& seed) {
            return gradcheck(name, to_function(f), to_tensors(inputs), {},
                             options_of(step, tolerance, max_elements, seed));
        },
        "name"_a, "f"_a, "inputs"_a, "step"_a, "tolerance"_a, "max_elements"_a, "seed"_a,
        "Checks f(tape, inputs).");
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
