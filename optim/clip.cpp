#include "optim/clip.h"

#include <cmath>

#include "tensor/ops.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

double clip_grad_norm(Module& model, double max_norm) {
    require(max_norm > 0, "[clip_grad_norm] expected max_norm > 0, got {}", max_norm);
    const PhaseScope phase("optimizer");
    double squares = 0;
    for (const Parameter* p : parameters(model))
        if (p->requires_grad && p->grad.defined()) squares += sum_squares(p->grad.dense());
    const double norm = std::sqrt(squares);
    const double factor = max_norm / (norm + 1e-6);
    if (factor < 1)
        for (Parameter* p : parameters(model))
            if (p->requires_grad && p->grad.defined())
                scale_in_place(p->grad.value, static_cast<real>(factor));
    return norm;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
