#include "method_options.h"

#include <algorithm>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

/// A Python value as the C++ type of the option, if it is one: True is no number, 1.5 no integer.
template <class T>
bool read(nb::handle value, T& result) {
    if constexpr (std::is_arithmetic_v<T>)
        if (PyBool_Check(value.ptr()) != int{std::is_same_v<T, bool>}) return false;
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>)
        if (!PyIndex_Check(value.ptr())) return false;
    return nb::try_cast(value, result);
}

template <class T>
T take(const std::string& where, const Option& option, nb::handle value) {
    T result{};
    if (!read(value, result)) refuse(where, option, slimgrad::shown(text(nb::repr(value))));
    check_option(where, option, result);
    return result;
}

/// Sets one option from a Python value.
template <class T>
void assign(const std::string& where, const Option& option, nb::handle value, T& member) {
    member = take<T>(where, option, value);
}
template <class T>
void assign(const std::string& where, const Option& option, nb::handle value,
            std::optional<T>& member) {
    member = take<T>(where, option, value);
}
void assign(const std::string& where, const Option& option, nb::handle value, OptionValue& member) {
    if (std::holds_alternative<Integers>(option.range))
        member = take<std::int64_t>(where, option, value);
    else if (std::holds_alternative<Reals>(option.range))
        member = take<double>(where, option, value);
    else if (std::holds_alternative<YesNo>(option.range))
        member = take<bool>(where, option, value);
    else if (std::holds_alternative<Words>(option.range) && PyLong_CheckExact(value.ptr()))
        member = take<std::string>(where, option, nb::str(value));  // 4 is as good as "4"
    else
        member = take<std::string>(where, option, value);
}

/// An option that some entry brings, given for a method that does not have it, is a slip.
void require_meant(const std::string& place, const Method& method, const std::string& name) {
    const auto has = [&](const std::vector<Option>& options) {
        return std::ranges::find(options, name, &Option::name) != options.end();
    };
    require(!has(own_method_options()) || has(method.options), "{} method '{}' has no option '{}'",
            place, method.name, name);
}

}  // namespace

MethodOptions to_method_options(const std::string& where, const std::string& method,
                                const nb::dict& options) {
    MethodOptions result;
    result.method = method;
    const std::string place = fmt::format("[{}]", where);
    for (const auto [key, value] : options) {
        const std::string name = nb::cast<std::string>(key);
        std::vector<std::string> known;
        const auto see = [&, given = value](const Option& option, auto& member) {
            known.push_back(option.name);
            if (option.name == name && !given.is_none()) assign(place, option, given, member);
        };
        for_each_method_option(result, see);
        see({"min_tokens", batch_option().range}, result.min_tokens);
        see(batch_option(), result.batch);
        require(std::ranges::find(known, name) != known.end(), "{} unknown option '{}'; known: {}",
                place, name, fmt::join(known, ", "));
        if (!value.is_none()) require_meant(place, find_method(method), name);
    }
    return result;
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
