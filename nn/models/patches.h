#pragma once

#include "autograd/tape.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// (B, C, H, W) -> (B, tokens, C · patch · patch), tokens in row-major order of the patches.
Var patches(const Var& x, std::int64_t patch);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
