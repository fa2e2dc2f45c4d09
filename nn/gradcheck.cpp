#include "nn/gradcheck.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

GradcheckReport gradcheck(Module& module, const Tensor& x, const GradcheckOptions& options) {
    return gradcheck(
        module, [&](Tape&, const std::vector<Var>& in) { return module.forward(in.at(0)); }, {x},
        options);
}

GradcheckReport gradcheck(Module& module, const TapeFunction& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options) {
    std::vector<NamedParameter> named;
    for_each_parameter(module, [&](const std::string& path, Parameter& parameter) {
        named.push_back({path, &parameter});
    });
    return gradcheck(module.path(), f, inputs, named, options);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
