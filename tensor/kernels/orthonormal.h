#pragma once

#include <cstdint>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Makes the rows of a matrix (rank, length), rank ≤ length, orthonormal, in place, by Householder
/// reflections: their span if they are independent, completed by other directions where they are
/// not. Rows of any size, however small. By one thread; counts nothing.
void orthonormalise(std::int64_t rank, std::int64_t length, real* rows);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
