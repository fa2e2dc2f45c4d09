#include "optim/clip.h"

#include <cmath>

#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

double clip_grad_norm(Module& model, double max_norm) {
    require(max_norm > 0, "[clip_grad_norm] expected max_norm > 0, got {}", max_norm);
    const PhaseScope phase("optimizer");
    std::vector<Parameter*> clipped;
    double squares = 0;
    for_each_parameter(model, [&](const std::string& name, Parameter& p) {
        if (!p.requires_grad || !p.grad.defined()) return;
        p.check_grad(name);
        squares += sum_squares(p.grad.value);
        clipped.push_back(&p);
    });
    const double norm = std::sqrt(squares);
    const double factor = max_norm / (norm + 1e-6);
    if (factor < 1)
        for (Parameter* p : clipped) scale_in_place(p->grad.value, static_cast<real>(factor));
    return norm;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
