#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nn/linear_operator.h"
#include "tensor/config.h"
#include "tensor/option.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What a projector is divided by to make up for the part that it drops (INSTANT eq. 3).
enum class Offset {
    none,    // orthonormal rows
    energy,  // √e, e = kept share of the squared eigenvalues
    signal   // √e₁, e₁ = kept share of the eigenvalues
};

/// What to do with a slot whose rank costs more FLOPs than compression saves (break_even.h).
enum class BreakEven {
    report,  // compress as asked, and report it
    vanilla  // leave the slot uncompressed, and report that
};

/// A backward method and its options, in the words of the command line.
struct MethodOptions {
    std::string method = "vanilla";
    double epsilon = 0.95;                 // share of the energy Σ σᵢ² that the rank must keep
    std::int64_t oversample = 0;           // p: directions added to that
    std::optional<std::int64_t> rank_x{};  // fixes the rank of P instead
    std::optional<std::int64_t> rank_g{};  // fixes the rank of Q instead
    std::optional<Side> side{};            // of both slots; without it the shorter axis of each
    std::optional<Side> side_x{};          // of the x slot, whatever `side` says
    std::optional<Side> side_g{};          // of the g slot
    Offset offset = Offset::energy;
    std::int64_t min_tokens = 2;  // layers that see fewer stay exact: they have no token axis
    BreakEven break_even = BreakEven::report;
    std::int64_t batch = 1;  // samples of a step: break-even spreads once-a-batch terms over them

    /// The side of each slot; none is the shorter axis.
    std::optional<Side> side_of_x() const { return side_x ? side_x : side; }
    std::optional<Side> side_of_g() const { return side_g ? side_g : side; }
};

/// The methods that slimgrad knows, in the order in which help lists them.
std::vector<std::string> method_names();

/// Which slots of a linear map a method compresses.
struct Slots {
    bool x = false;
    bool g = false;
};
/// Throws Error for an unknown method and lists the known ones.
Slots method_slots(const std::string& method);
/// The options of all methods, in the order in which help lists them.
const std::vector<Option>& method_options();
/// One of them. Throws Error for a name that is none.
const Option& method_option(std::string_view name);
/// Throws Error for an unknown method or an option out of its range.
void validate(const MethodOptions& options);

// Words of the command line and of JSON. The parsers throw Error and list the known words.
std::string to_string(Side side);
std::string to_string(Offset offset);
std::string to_string(BreakEven break_even);
std::optional<Side> parse_side(const std::string& word);  // "auto" gives no side
Offset parse_offset(const std::string& word);
BreakEven parse_break_even(const std::string& word);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
