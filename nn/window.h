#pragma once

#include <string>

#include "autograd/tape.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A grid of tokens that is cut into square windows, after it was rolled by `shift` up and to the
/// left (Liu et al. 2021). The side of a window divides both sides of the grid.
struct Windows {
    std::int64_t rows, columns, side, shift;

    std::int64_t count() const { return rows / side * (columns / side); }
    std::int64_t tokens() const { return side * side; }
};

/// (B, rows · columns, C) -> (B · count, side², C): the windows of a sample side by side, row by
/// row. Throws Error, in the name of `name`, for other shapes.
Var to_windows(const std::string& name, const Var& x, const Windows& windows);
/// The way back.
Var from_windows(const std::string& name, const Var& x, const Windows& windows);

/// What hides the tokens of a window from each other that were far apart before the roll: (count,
/// side², side²) of 0 and -100, as published. Undefined if there is no shift.
Tensor window_mask(const Windows& windows);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
