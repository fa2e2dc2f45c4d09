#include "method_options.h"

#include <functional>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

/// A Python value as the C++ type of the option, if it is one: True is no number, 1.5 no integer.
template <class T>
bool read(nb::handle value, T& result) {
    if constexpr (std::is_arithmetic_v<T>)
        if (PyBool_Check(value.ptr())) return false;
    if constexpr (std::is_integral_v<T>)
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
void set(const std::string& where, const Option& option, nb::handle value, MethodOptions& o) {
    const auto number = [&](auto& member) {
        using T = std::remove_cvref_t<decltype(member)>;
        if constexpr (std::is_arithmetic_v<T>)
            member = take<T>(where, option, value);
        else
            member = take<typename T::value_type>(where, option, value);
    };
    const auto word = [&] { return take<std::string>(where, option, value); };
    const auto side = [&] {
        const std::string side = word();
        return side.empty() ? std::nullopt : parse_side(side);
    };
    const std::string& name = option.name;
    if (name == "epsilon") number(o.epsilon);
    if (name == "oversample") number(o.oversample);
    if (name == "rank_x") number(o.rank_x);
    if (name == "rank_g") number(o.rank_g);
    if (name == "side") o.side = side();
    if (name == "side_x") o.side_x = side();
    if (name == "side_g") o.side_g = side();
    if (name == "offset") o.offset = parse_offset(word());
    if (name == "min_tokens") number(o.min_tokens);
    if (name == "break_even") o.break_even = parse_break_even(word());
    if (name == "batch") number(o.batch);
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
        const Option* found = nullptr;
        for (const Option& option : method_options()) {
            if (option.name == name) found = &option;
            known.push_back(option.name);
        }
        require(found != nullptr, "{} unknown option '{}'; known: {}", place, name,
                fmt::join(known, ", "));
        if (!value.is_none()) set(place, *found, value, result);
    }
    return result;
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
