#pragma once

#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A grid of vectors (rows, columns, width), given by its shape, on another grid of `rows` x
/// `columns` cells: bicubic between the centres of the cells with a = -0.75, beyond the border the
/// border. As PyTorch's interpolate with mode="bicubic", align_corners=False and without antialias.
void resize_bicubic(const Shape& grid, const real* from, std::int64_t rows, std::int64_t columns,
                    real* to);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
