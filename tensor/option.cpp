#include "tensor/option.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "tensor/error.h"

namespace slimgrad {
namespace {

std::string describe(const Reals& r) {
    if (!r.open_low)
        return fmt::format("a number from {} to {}{}", r.low, r.open_high ? "below " : "", r.high);
    return fmt::format("a number above {} and {} {}", r.low, r.open_high ? "below" : "at most",
                       r.high);
}

void require_some(std::string_view where, const Option& option, std::string_view text) {
    if (text.empty())
        fail("{} expected {} as {}, got an empty text. Hint: is a variable of the shell not set?",
             where, describe(option.range), option.name);
}

/// The whole text as a number; false if it is none, or beyond what T can hold.
template <class T>
bool read_number(std::string_view text, T& value) {
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, value);
    return read.ec == std::errc() && read.ptr == end;
}

}  // namespace

std::string describe(const Range& range) {
    if (const auto* r = std::get_if<Integers>(&range))
        return fmt::format("a whole number from {} to {}", r->low, r->high);
    if (const auto* r = std::get_if<Reals>(&range)) return describe(*r);
    if (const auto* r = std::get_if<Words>(&range))
        return fmt::format("one of {}", fmt::join(r->known, ", "));
    return std::holds_alternative<AnyText>(range) ? "a text" : "true or false";
}

std::string shown(std::string_view value) {
    constexpr std::size_t longest = 60;
    std::string text;
    for (const char c : value) {
        const bool starts = (static_cast<unsigned char>(c) & 0xC0) != 0x80;  // not inside a letter
        if (text.size() >= longest && starts) return fmt::format("'{}...'", text);
        const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
        text += control ? fmt::format("\\x{:02x}", c) : std::string(1, c);
    }
    return fmt::format("'{}'", text);
}

void refuse(std::string_view where, const Option& option, const std::string& got) {
    fail("{} expected {} as {}, got {}", where, describe(option.range), option.name, got);
}

void check_real(std::string_view where, const Option& option, double value) {
    const auto& r = std::get<Reals>(option.range);
    const bool low = r.open_low ? value > r.low : value >= r.low;
    const bool high = r.open_high ? value < r.high : value <= r.high;
    if (!(low && high)) refuse(where, option, fmt::format("{}", value));  // so is what is no number
}

void check_word(std::string_view where, const Option& option, const std::string& value) {
    require(value.find('\0') == value.npos, "{} expected a text without a byte of 0 as {}, got {}",
            where, option.name, shown(value));
    const auto* words = std::get_if<Words>(&option.range);
    if (!words || (words->optional && value.empty())) return;
    require(std::ranges::find(words->known, value) != words->known.end(),
            "{} unknown {} {}. Known: {}", where, option.name, shown(value),
            fmt::join(words->known, ", "));
}

void check_option(std::string_view where, const Option& option, const OptionValue& value) {
    const auto check = [&](const auto& v) {
        using T = std::remove_cvref_t<decltype(v)>;
        const Range& range = option.range;
        const bool fits =
            std::is_same_v<T, bool>           ? std::holds_alternative<YesNo>(range)
            : std::is_same_v<T, std::int64_t> ? std::holds_alternative<Integers>(range)
            : std::is_same_v<T, double>
                ? std::holds_alternative<Reals>(range)
                : std::holds_alternative<Words>(range) || std::holds_alternative<AnyText>(range);
        if (!fits) refuse(where, option, fmt::format("{}", v));
        check_option(where, option, v);
    };
    std::visit(
        [&](const auto& v) {
            if constexpr (!std::is_same_v<std::remove_cvref_t<decltype(v)>, std::monostate>)
                check(v);
        },
        value);
}

std::int64_t parse_integer(std::string_view where, const Option& option, std::string_view text) {
    require_some(where, option, text);
    std::int64_t value = 0;
    if (!read_number(text, value)) refuse(where, option, shown(text));
    check_option(where, option, value);
    return value;
}

double parse_real(std::string_view where, const Option& option, std::string_view text) {
    require_some(where, option, text);
    double value = 0;
    if (!read_number(text, value)) refuse(where, option, shown(text));
    check_option(where, option, value);
    return value;
}

std::string parse_text(std::string_view where, const Option& option, std::string_view text) {
    require_some(where, option, text);
    std::string value(text);
    check_word(where, option, value);
    return value;
}

bool parse_yes_no(std::string_view where, const Option& option, std::string_view text) {
    require_some(where, option, text);
    if (text != "true" && text != "false") refuse(where, option, shown(text));
    return text == "true";
}

void parse_option(std::string_view where, const Option& option, std::string_view text,
                  OptionValue& value) {
    if (std::holds_alternative<Integers>(option.range))
        value = parse_integer(where, option, text);
    else if (std::holds_alternative<Reals>(option.range))
        value = parse_real(where, option, text);
    else if (std::holds_alternative<YesNo>(option.range))
        value = parse_yes_no(where, option, text);
    else
        value = parse_text(where, option, text);
}

void OptionValues::set(std::string_view where, const Option& option, OptionValue value) {
    check_option(where, option, value);
    values_[option.name] = std::move(value);
}

const OptionValue& OptionValues::given(const Option& option) const {
    static const OptionValue none;
    const auto found = values_.find(option.name);
    return found == values_.end() ? none : found->second;
}

std::vector<std::string> idle_notes(const std::vector<Idle>& all,
                                    const std::vector<std::string>& given) {
    std::vector<std::string> notes;
    for (const std::string& name : given) {
        const auto found = std::ranges::find_if(all, [&](const Idle& one) {
            return one.idle && std::ranges::find(one.names, name) != one.names.end();
        });
        if (found != all.end())
            notes.push_back(fmt::format("{} has no effect: {}", name, found->reason));
    }
    return notes;
}

}  // namespace slimgrad
