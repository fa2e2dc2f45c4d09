#pragma once

#include "autograd/matrix_basis.h"
#include "instant/methods/method.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// Options that several entries of the table share, and what they mean.

const Option& rank_option();    // none unless given
const Option& ratio_option();   // the rank's share of its axis, inverted
const Option& redraw_option();  // steps between new projections
// Of methods that leave gradients on a basis until the update.
const Option& scale_option();    // α
const Option& moments_option();  // what becomes of the optimiser's where the basis changes
MatrixBasis::Options basis_options(const MethodOptions& options);

/// The rank in an axis of `dim`: `rank`, or dim / `ratio` rounded down; at least 1, at most dim.
std::int64_t chosen_rank(const MethodOptions& options, std::int64_t dim);

/// The side of a slot: as asked for, or the shorter axis, tokens on a tie.
Side chosen_side(const std::optional<Side>& asked, std::int64_t tokens, std::int64_t channels);

/// Which of a run's projections holds in a step: 0, then 1 after `redraw_every` steps, and so on;
/// always 0 if they are never drawn again.
std::uint64_t draw_of(std::uint64_t step, std::int64_t redraw_every);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
