// What the library runs on, and which precision is executing.

#include "executing.h"
#include "integer.h"
#include "precision.h"
#include "tensor/blas.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/skinny.h"

#include <nanobind/stl/string.h>

namespace nb = nanobind;

namespace slimgrad {

int& executing_bits() {
    thread_local int bits = 0;
    return bits;
}

namespace runs {

void bind_info(nb::module_& core) {
    core.def(
        "info",
        [] {
            const BlasInfo& info = blas();
            nb::dict dict;
            dict["version"] = SLIMGRAD_VERSION;
            dict["cpu"] = cpu_name();
            dict["blas"] = info.config;
            dict["openmp"] = info.openmp;
            dict["kernels_detected"] = info.detected;
            dict["kernels"] = info.kernels;
            dict["kernels_chosen_by"] = info.chosen_by_user             ? "OPENBLAS_CORETYPE"
                                        : info.kernels == info.detected ? "OpenBLAS"
                                                                        : "slimgrad";
            dict["products"] = f32::gemm_library();
            dict["skinny_products"] = f32::skinny_target();
            dict["threads"] = threads();
            return dict;
        },
        nb::sig("def info() -> dict[str, object]"),
        "Version, processor, BLAS and the kernels in use and who chose them, threads.");
    core.def(
        "set_num_threads", [](const Int& threads) { set_threads(threads); }, nb::arg("threads"),
        nb::call_guard<nb::gil_scoped_release>(),
        "Threads for the kernels from now on. Raises sg.Error unless from 1 to four "
        "times the processors (at least 256). Where another "
        "library shares this process's OpenMP runtime, it is set for both.");
    core.def("get_num_threads", &threads, "Threads that the kernels use.");
    core.def(
        "executing_bits", [] { return executing_bits(); },
        "32 or 64 while a tape runs a Python function on this thread, else 0.");
}

}  // namespace runs
}  // namespace slimgrad
