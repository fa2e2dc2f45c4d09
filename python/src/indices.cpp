// Numbers and integers of Python, checked before they are narrowed.

#include <cmath>
#include <limits>

#include "bind.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

/// np.asarray(value); what NumPy refuses, lists of unequal lengths say, is an Error.
nb::object as_array(nb::handle value, const char* where) {
    try {
        return nb::module_::import_("numpy").attr("asarray")(value);
    } catch (const nb::python_error& error) {
        if (!error.matches(PyExc_ValueError) && !error.matches(PyExc_TypeError)) throw;
        fail("[{}] expected integers: {}", where, text(error.value()));
    }
}

std::string attribute(nb::handle array, const char* of, const char* name) {
    return text(nb::object(array.attr(of).attr(name)));
}

}  // namespace

real to_real(double value, const char* where) {
    const bool fits = !std::isfinite(value) || std::abs(value) <= std::numeric_limits<real>::max();
    require(fits, "[{}] {} does not fit into {}. Hint: sg.float64 computes in double", where, value,
            dtype_name);
    return static_cast<real>(value);
}

real to_real(nb::handle number, const char* where) {
    const double value = PyFloat_AsDouble(number.ptr());
    if (value == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        fail("[{}] the integer is too large for {}", where, dtype_name);
    }
    return to_real(value, where);
}

Indices32 to_indices(nb::handle value, const char* where) {
    const nb::object array = as_array(value, where);
    const std::string kind = attribute(array, "dtype", "kind");
    Indices32 result;
    for (const nb::handle length : array.attr("shape"))
        result.shape.push_back(nb::cast<std::int64_t>(length));
    if (numel(result.shape) == 0 && kind == "f") return result;  // an empty list
    require(kind == "i" || kind == "u", "[{}] expected integers, got dtype {}", where,
            text(nb::object(array.attr("dtype"))));
    if (numel(result.shape) == 0) return result;
    for (const char* extreme : {"min", "max"}) {
        const nb::int_ number(nb::object(array.attr(extreme)()));
        int overflow = 0;
        const long long integer = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
        require(overflow == 0 && integer >= std::numeric_limits<std::int32_t>::min() &&
                    integer <= std::numeric_limits<std::int32_t>::max(),
                "[{}] expected integers that fit into 32 bits, got {}", where, text(number));
    }
    const nb::object narrow =
        nb::module_::import_("numpy").attr("ascontiguousarray")(array, "dtype"_a = "int32");
    const auto view =
        nb::cast<nb::ndarray<const std::int32_t, nb::c_contig, nb::device::cpu>>(narrow, false);
    result.values.assign(view.data(), view.data() + view.size());
    return result;
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
