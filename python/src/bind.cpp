#include "bind.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {

void bind(nb::module_& core, nb::module_& here) {
    here.attr("dtype") = dtype_name;
    bind_tensor(core, here);
    bind_random(here);
    bind_tape(core, here);
    bind_ops(core);
    bind_function(here);
    bind_module(core, here);
    bind_rules(core, here);
    bind_layers(core, here);
    bind_token_layers(here);
    bind_sequential(here);
    bind_models(core, here);
    bind_optim(core, here);
    bind_instant(here);
    bind_methods(core, here);
    bind_lab(here);
    bind_data(core, here);
    bind_measure(core, here);
    bind_gradcheck(core, here);
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
