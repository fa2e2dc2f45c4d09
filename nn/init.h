#pragma once

#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// PyTorch's default initialisations. `fan_in` is the number of inputs of one output.

/// U(-1/√fan_in, 1/√fan_in): weights and biases of Linear and Conv2d (Kaiming uniform with a = √5).
Tensor kaiming_uniform(Shape shape, std::int64_t fan_in, Stream& stream);
/// U(-b, b) with b = √(6 / (fan_in + fan_out)): the joint Q, K, V weight of MultiHeadAttention.
Tensor xavier_uniform(Shape shape, std::int64_t fan_in, std::int64_t fan_out, Stream& stream);
/// N(0, std²) cut off at ±2, as vision transformers use it for positions.
Tensor truncated_normal(Shape shape, real std, Stream& stream);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
