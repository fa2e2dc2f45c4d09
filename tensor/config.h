#pragma once

/// The library is compiled once for each precision from the same sources: `real` is float in the
/// library that trains and double in the one that checks gradients. Each build lives in its own
/// inline namespace, so that a single process can hold both.
#ifdef SLIMGRAD_DOUBLE
#define SLIMGRAD_PRECISION f64
#else
#define SLIMGRAD_PRECISION f32
#endif

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

#ifdef SLIMGRAD_DOUBLE
using real = double;
#else
using real = float;
#endif

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
