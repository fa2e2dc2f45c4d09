#include "instant/methods/options.h"

#include <algorithm>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

const Option& rank_option() {
    static const Option option{"rank", Integers{1, 1'000'000}, "rank of the method's subspaces"};
    return option;
}

const Option& ratio_option() {
    static const Option option{"ratio", Integers{1, 1'000'000},
                               "without rank: the length of the axis divided by it",
                               std::int64_t{4}};
    return option;
}

const Option& redraw_option() {
    static const Option option{"redraw_every", Integers{0, 1'000'000'000},
                               "steps between new projections (0: never)", std::int64_t{200}};
    return option;
}

const Option& scale_option() {
    static const Option option{"scale", Reals{0, 1000, true}, "factor of compressed updates", 1.0};
    return option;
}

const Option& moments_option() {
    static const Option option{"moments", Words{moments_words()},
                               "the optimiser's moments where a projection changes",
                               std::string("keep")};
    return option;
}

const Option& weight_rows_option() {
    static const Option option{"weight_rows", YesNo{},
                               "token side: P weights the rows of x by how large those of g are",
                               false};
    return option;
}

const Option& skip_padding_option() {
    static const Option option{"skip_padding", YesNo{},
                               "leave padding tokens out of P x and of what P is made of", false};
    return option;
}

const Option& complement_option() {
    static const Option option{
        "complement", Integers{0, 1'000'000},
        "random directions beside the principal ones: gradients are unbiased", std::int64_t{0}};
    return option;
}

const Option& complement_scale_option() {
    static const Option option{"complement_scale", Reals{0, 1'000'000, true},
                               "factor of what these hold (default: the unbiased one)"};
    return option;
}

const Option& budget_option() {
    static const Option option{"budget", Reals{0, 1, true},
                               "share of the slots' exact FLOPs that all ranks together may cost"};
    return option;
}

MatrixBasis::Options basis_options(const MethodOptions& options) {
    return {.moments = parse_moments(options.own.get<std::string>(moments_option())),
            .scale = options.own.get<double>(scale_option())};
}

std::int64_t chosen_rank(const MethodOptions& options, std::int64_t dim) {
    const OptionValue& rank = options.own.given(rank_option());
    const std::int64_t asked = std::holds_alternative<std::monostate>(rank)
                                   ? dim / options.own.get<std::int64_t>(ratio_option())
                                   : std::get<std::int64_t>(rank);
    return std::clamp(asked, std::int64_t{1}, std::max(dim, std::int64_t{1}));
}

Side chosen_side(const std::optional<Side>& asked, std::int64_t tokens, std::int64_t channels) {
    return asked.value_or(tokens <= channels ? Side::token : Side::channel);
}

std::uint64_t draw_of(std::uint64_t step, std::int64_t redraw_every) {
    return redraw_every > 0 ? step / static_cast<std::uint64_t>(redraw_every) : 0;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
