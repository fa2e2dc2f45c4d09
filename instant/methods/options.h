#pragma once

#include <algorithm>

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

// Of calibrated slots.
const Option& weight_rows_option();   // weight the rows of x by g's
const Option& skip_padding_option();  // leave padding out of the x slot
const Option& complement_option();    // random directions beside principal ones, of sketches too
const Option& complement_scale_option();  // c of them; none: the unbiased one
const Option& budget_option();  // one number instead of epsilon and oversample; none unless given

/// What an option says if the method has it, else `otherwise`; none given has no default: so too.
template <class T>
T own_or(const MethodOptions& options, const Option& option, T otherwise) {
    const Method& method = find_method(options.method);
    if (std::ranges::find(method.options, option.name, &Option::name) == method.options.end())
        return otherwise;
    const OptionValue& given = options.own.given(option);
    const OptionValue& value =
        std::holds_alternative<std::monostate>(given) ? option.initial : given;
    return std::holds_alternative<T>(value) ? std::get<T>(value) : otherwise;
}

/// The rank in an axis of `dim`: `rank`, or dim / `ratio` rounded down; at least 1, at most dim.
std::int64_t chosen_rank(const MethodOptions& options, std::int64_t dim);

/// The side of a slot: as asked for, or the shorter axis, tokens on a tie.
Side chosen_side(const std::optional<Side>& asked, std::int64_t tokens, std::int64_t channels);

/// Which of a run's projections holds in a step: 0, then 1 after `redraw_every` steps, and so on;
/// always 0 if they are never drawn again.
std::uint64_t draw_of(std::uint64_t step, std::int64_t redraw_every);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
