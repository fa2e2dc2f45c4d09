#include "nn/flatten.h"

#include "autograd/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// y = x under another shape
//   g_x = g under the shape of x
Var Flatten::forward(const Var& x) {
    require(x.value().ndim() > 0, "[{}] expected a batch (B, ...), got a scalar", path());
    return reshape(x, {x.size(0), numel({x.shape().begin() + 1, x.shape().end()})});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
