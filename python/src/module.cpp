// The extension module slimgrad._core: what exists once, and the two precisions.

#include "precision.h"

#include "tensor/error.h"

namespace nb = nanobind;

NB_MODULE(_core, core) {
    core.doc() =
        "The compiled part of slimgrad. Functions choose the precision by their arguments; the "
        "classes of each precision are in the submodules f32 and f64.";
    nb::set_leak_warnings(false);  // at the end of the process objects may still be in use
    nb::exception<slimgrad::Error> error(core, "Error", PyExc_ValueError);
    error.doc() =
        "What a caller did wrong, or what was wrong with its data: one line that names the "
        "operation, what was expected and what came.";
    // A value inside a container has a type that nobody asked about.
    nb::register_exception_translator(
        [](const std::exception_ptr& thrown, void* type) {
            try {
                std::rethrow_exception(thrown);
            } catch (const std::bad_cast&) {
                PyErr_SetString(static_cast<PyObject*>(type),
                                "[argument] a value has another type than is expected here");
            }
        },
        error.ptr());

    nb::module_ f32 = core.def_submodule("f32", "The classes that compute in float32.");
    nb::module_ f64 = core.def_submodule("f64", "The classes that compute in float64.");
    slimgrad::f32::python::bind(core, f32);
    slimgrad::f64::python::bind(core, f64);
    slimgrad::runs::bind_cost(core);
    slimgrad::runs::bind_info(core);
    slimgrad::runs::bind_runs(core);
}
