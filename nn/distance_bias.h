#pragma once

#include <string>

#include "autograd/tape.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The tokens of an image, and which of them ask: those of every `step`-th row and column.
struct TokenDistances {
    std::int64_t rows, columns, step = 1;

    std::int64_t keys() const { return rows * columns; }
    std::int64_t queries() const {
        return (rows + step - 1) / step * ((columns + step - 1) / step);
    }
};

/// What attention adds to its scores: bias_h(i, j) = b_h(|Δrow| · columns + |Δcolumn|), a learned
/// number for each head and distance of query i and key j (Graham et al. 2021, LeViT). `b`: (heads,
/// rows · columns) -> (heads, queries, keys). Throws Error, in the name of `name`, for another
/// shape.
Var distance_bias(const std::string& name, const Var& b, const TokenDistances& tokens);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
