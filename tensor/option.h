#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace slimgrad {

// What a user may choose, said once: the command line, JSON and Python check against it, and help
// texts print it.

/// Whole numbers from `low` to `high`.
struct Integers {
    std::int64_t low, high;
};
/// Finite numbers from `low` to `high`; an open end is not among them.
struct Reals {
    double low, high;
    bool open_low = false, open_high = false;
};
/// One of these words; where it is optional, an empty one chooses none.
struct Words {
    std::vector<std::string> known;
    bool optional = false;
};
/// Any text. Help lists the known ones.
struct AnyText {
    std::vector<std::string> known{};
};
/// True or false.
struct YesNo {};

using Range = std::variant<Integers, Reals, Words, AnyText, YesNo>;

/// A value of any of these, or none.
using OptionValue = std::variant<std::monostate, bool, std::int64_t, double, std::string>;

struct Option {
    std::string name;
    Range range;
    std::string help{};
    /// What it is where nothing is given, of the options that OptionValues hold.
    OptionValue initial{};
};

/// As it stands in a message after "expected": "a whole number from 1 to 8".
std::string describe(const Range& range);
/// A value as it may stand in a message: in quotes, on one line, cut if it is long.
std::string shown(std::string_view value);

/// Throws Error, one line that begins with `where`: what the option may be, and what came.
[[noreturn]] void refuse(std::string_view where, const Option& option, const std::string& got);

void check_real(std::string_view where, const Option& option, double value);
void check_word(std::string_view where, const Option& option, const std::string& value);

/// Throws Error unless the value is in the option's range, which must be one of its type.
template <class T>
void check_option(std::string_view where, const Option& option, const T& value) {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        const auto& range = std::get<Integers>(option.range);
        if (std::cmp_less(value, range.low) || std::cmp_greater(value, range.high))
            refuse(where, option, std::to_string(value));
    } else if constexpr (std::is_floating_point_v<T>) {
        check_real(where, option, value);
    } else if constexpr (std::is_same_v<T, std::string>) {
        check_word(where, option, value);
    }
}
template <class T>
void check_option(std::string_view where, const Option& option, const std::optional<T>& value) {
    if (value) check_option(where, option, *value);
}
/// Also for a value of another type than the range's.
void check_option(std::string_view where, const Option& option, const OptionValue& value);

std::int64_t parse_integer(std::string_view where, const Option& option, std::string_view text);
double parse_real(std::string_view where, const Option& option, std::string_view text);
std::string parse_text(std::string_view where, const Option& option, std::string_view text);
bool parse_yes_no(std::string_view where, const Option& option, std::string_view text);

/// The value that a text of the command line stands for. Numbers are decimal and nothing else: no
/// blanks, no "+", no other base. Throws Error for a text that is none or out of range, and for an
/// empty one, whatever the option is: that is most often a variable of the shell that is not set.
template <class T>
void parse_option(std::string_view where, const Option& option, std::string_view text, T& value) {
    if constexpr (std::is_same_v<T, bool>)
        value = parse_yes_no(where, option, text);
    else if constexpr (std::is_integral_v<T>)
        value = static_cast<T>(parse_integer(where, option, text));
    else if constexpr (std::is_floating_point_v<T>)
        value = parse_real(where, option, text);
    else
        value = parse_text(where, option, text);
}
template <class T>
void parse_option(std::string_view where, const Option& option, std::string_view text,
                  std::optional<T>& value) {
    parse_option(where, option, text, value.emplace());
}
void parse_option(std::string_view where, const Option& option, std::string_view text,
                  OptionValue& value);

/// Options by name, for a table that others may add to: what was given, or else the initial value.
class OptionValues {
  public:
    /// Throws Error unless the option may have this value.
    void set(std::string_view where, const Option& option, OptionValue value);
    /// What was given, to be changed; none if nothing was.
    OptionValue& given(const Option& option) { return values_[option.name]; }
    const OptionValue& given(const Option& option) const;
    /// T as the range has it: std::int64_t, double, std::string or bool.
    template <class T>
    T get(const Option& option) const {
        const OptionValue& value = given(option);
        return std::get<T>(std::holds_alternative<std::monostate>(value) ? option.initial : value);
    }

  private:
    std::map<std::string, OptionValue> values_;
};

/// Options that do nothing, as others are chosen.
struct Idle {
    bool idle;
    std::vector<std::string> names;
    std::string reason;
};
/// "momentum has no effect: the optimizer is adamw", for each of the given names that is idle.
std::vector<std::string> idle_notes(const std::vector<Idle>& all,
                                    const std::vector<std::string>& given);

}  // namespace slimgrad
