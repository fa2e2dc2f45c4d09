#pragma once

#include <nanobind/nanobind.h>

// The bindings are compiled twice, like the library: once for each precision. Both halves end up in
// one extension module, slimgrad._core, their classes in its submodules f32 and f64.
namespace slimgrad {
inline namespace f32 {
namespace python {
void bind(nanobind::module_& core, nanobind::module_& here);
}
}  // namespace f32

namespace f64::python {
void bind(nanobind::module_& core, nanobind::module_& here);
}
}  // namespace slimgrad

/// Parts that exist once.
namespace slimgrad::runs {
void bind_cost(nanobind::module_& core);
void bind_info(nanobind::module_& core);
void bind_runs(nanobind::module_& core);
}  // namespace slimgrad::runs
