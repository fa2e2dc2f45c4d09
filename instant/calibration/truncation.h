#pragma once

#include <cstdint>
#include <optional>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What a projector is divided by to make up for the part that it drops (INSTANT eq. 3).
enum class Offset {
    none,    // orthonormal rows
    energy,  // √e, e = kept share of the squared eigenvalues
    signal   // √e₁, e₁ = kept share of the eigenvalues
};

/// How many directions of a spectrum to keep and how to scale them.
struct Truncation {
    double epsilon = 0.95;
    std::int64_t oversample = 0;
    std::optional<std::int64_t> rank{};
    Offset offset = Offset::energy;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
