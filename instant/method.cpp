#include "instant/method.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "tensor/error.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

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

const std::vector<Option>& method_options() {
    constexpr std::int64_t most = 1'000'000;  // no axis is longer
    const Words side{{"token", "channel", "auto"}}, side_of_slot{side.known, true};
    static const std::vector<Option> all{
        {"epsilon", Reals{0, 1, true}, "share of the energy that the ranks keep"},
        {"oversample", Integers{0, most}, "directions added to the rank that epsilon asks for"},
        {"rank_x", Integers{1, most}, "fix the rank of the x slot instead"},
        {"rank_g", Integers{1, most}, "fix the rank of the g slot instead"},
        {"side", side, "axis to compress (auto: the shorter one)"},
        {"side_x", side_of_slot, "that of the x slot, if it is another"},
        {"side_g", side_of_slot, "that of the g slot, if it is another"},
        {"offset", Words{{"none", "energy", "signal"}}, "scale of the projection"},
        {"min_tokens", Integers{1, most}, "layers that see fewer tokens stay exact"},
        {"break_even", Words{{"report", "vanilla"}},
         "slots whose rank costs more FLOPs than it saves (vanilla: leave them exact)"},
        {"batch", Integers{1, most}, "samples of a step"},
    };
    return all;
}

const Option& method_option(std::string_view name) {
    const std::vector<Option>& all = method_options();
    const auto found = std::ranges::find(all, name, &Option::name);
    require(found != all.end(), "[method] methods have no option {}", shown(name));
    return *found;
}

void validate(const MethodOptions& o) {
    method_slots(o.method);
    const auto check = [](const char* name, const auto& value) {
        check_option("[method]", method_option(name), value);
    };
    check("epsilon", o.epsilon);
    check("oversample", o.oversample);
    check("rank_x", o.rank_x);
    check("rank_g", o.rank_g);
    check("min_tokens", o.min_tokens);
    check("batch", o.batch);
}

std::string to_string(Side side) { return side == Side::token ? "token" : "channel"; }

std::string to_string(Offset offset) {
    return offset == Offset::none ? "none" : offset == Offset::energy ? "energy" : "signal";
}

std::string to_string(BreakEven break_even) {
    return break_even == BreakEven::report ? "report" : "vanilla";
}

std::optional<Side> parse_side(const std::string& word) {
    check_option("[method]", method_option("side"), word);
    if (word == "auto") return std::nullopt;
    return word == "token" ? Side::token : Side::channel;
}

Offset parse_offset(const std::string& word) {
    check_option("[method]", method_option("offset"), word);
    return word == "none" ? Offset::none : word == "energy" ? Offset::energy : Offset::signal;
}

BreakEven parse_break_even(const std::string& word) {
    check_option("[method]", method_option("break_even"), word);
    return word == "report" ? BreakEven::report : BreakEven::vanilla;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
