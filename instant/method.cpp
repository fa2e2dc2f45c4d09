#include "instant/method.h"

#include <fmt/ranges.h>

#include "tensor/error.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

std::vector<std::string> method_names() {
    return {"vanilla", "compress-x", "compress-gy", "instant"};
}

Slots method_slots(const std::string& method) {
    if (method == "vanilla") return {false, false};
    if (method == "compress-x") return {true, false};
    if (method == "compress-gy") return {false, true};
    if (method == "instant") return {true, true};
    fail("[method] unknown method '{}'; known: {}", method, fmt::join(method_names(), ", "));
}

void validate(const MethodOptions& options) {
    method_slots(options.method);
    require(options.epsilon > 0 && options.epsilon <= 1,
            "[method] epsilon must be in (0, 1], got {}", options.epsilon);
    require(options.oversample >= 0, "[method] oversample must not be negative, got {}",
            options.oversample);
    for (const auto& rank : {options.rank_x, options.rank_g})
        require(!rank || *rank >= 1, "[method] a fixed rank must be at least 1, got {}",
                rank.value_or(0));
    require(options.batch >= 1, "[method] batch must be at least 1, got {}", options.batch);
}

std::string to_string(Side side) { return side == Side::token ? "token" : "channel"; }

std::string to_string(Offset offset) {
    return offset == Offset::none ? "none" : offset == Offset::energy ? "energy" : "signal";
}

std::string to_string(BreakEven break_even) {
    return break_even == BreakEven::report ? "report" : "vanilla";
}

std::optional<Side> parse_side(const std::string& word) {
    if (word == "auto") return std::nullopt;
    if (word == "token") return Side::token;
    if (word == "channel") return Side::channel;
    fail("[method] unknown side '{}'; known: token, channel, auto", word);
}

Offset parse_offset(const std::string& word) {
    for (const Offset offset : {Offset::none, Offset::energy, Offset::signal})
        if (word == to_string(offset)) return offset;
    fail("[method] unknown offset '{}'; known: none, energy, signal", word);
}

BreakEven parse_break_even(const std::string& word) {
    for (const BreakEven choice : {BreakEven::report, BreakEven::vanilla})
        if (word == to_string(choice)) return choice;
    fail("[method] unknown break_even '{}'; known: report, vanilla", word);
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
