#pragma once

#include "lifetimes.h"
#include "nn/conv2d.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {

// What the bindings of layers have in common.

/// 3 or (3, 5).
inline Size2d to_pair(nb::handle value, const char* what) {
    Int one;
    std::pair<Int, Int> both;
    if (nb::try_cast(value, one)) return {std::int64_t{one}};
    require(nb::try_cast(value, both), "[layer] expected {} as an integer or two of them, got {}",
            what, text(nb::steal(PyObject_Repr(value.ptr()))));
    return {std::int64_t{both.first}, std::int64_t{both.second}};
}

inline nb::object from_pair(const Size2d& pair) { return nb::make_tuple(pair.rows, pair.columns); }

inline Stream weights(std::uint64_t seed) { return {seed, "weights"}; }

/// `arguments` of a layer's constructor, from which a copy is made; see slimgrad/_modules.py.
template <class L, class F, class... Base>
void bind_arguments(nb::class_<L, Base...>& type, F arguments) {
    type.def(
        "_constructor_arguments",
        [arguments](const L& layer) -> nb::dict { return arguments(layer); },
        "What the constructor was given.");
}

/// The parameter that `get` gives of a layer, or None.
template <class L, class Get>
auto parameter_of(Get get) {
    return [get](nb::handle_t<L> self) -> nb::object {
        Parameter* parameter = get(nb::cast<L&>(self));
        return parameter ? part_of(self, parameter) : nb::none();
    };
}

inline nb::dict keywords(std::initializer_list<std::pair<const char*, nb::object>> values) {
    nb::dict dict;
    for (const auto& [name, value] : values) dict[name] = value;
    return dict;
}

template <class T>
nb::object object_of(const T& value) {
    return nb::cast(value);
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
