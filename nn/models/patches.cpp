#include "nn/models/patches.h"

#include "autograd/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

Var patches(const Var& x, std::int64_t patch) {
    const std::int64_t batch = x.size(0), channels = x.size(1);
    const std::int64_t rows = x.size(2) / patch, columns = x.size(3) / patch;
    const Var cut = reshape(x, {batch, channels, rows, patch, columns, patch});
    return reshape(transpose(cut, {0, 2, 4, 1, 3, 5}),
                   {batch, rows * columns, channels * patch * patch});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
