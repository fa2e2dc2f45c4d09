#include "options_json.h"

#include <nanobind/stl/string.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "precision.h"
#include "tensor/error.h"
#include "tensor/option.h"

namespace nb = nanobind;

namespace slimgrad::runs {
namespace {

nlohmann::json value_json(const std::string& place, const std::string& name, nb::handle value) {
    if (PyBool_Check(value.ptr())) return value.ptr() == Py_True;
    if (PyFloat_Check(value.ptr())) return PyFloat_AsDouble(value.ptr());
    if (PyUnicode_Check(value.ptr())) {
        Py_ssize_t size = 0;
        if (const char* text = PyUnicode_AsUTF8AndSize(value.ptr(), &size))
            return std::string(text, static_cast<std::size_t>(size));
        PyErr_Clear();
        fail("[{}] expected UTF-8 as {}, got other bytes", place, name);
    }
    if (PyLong_Check(value.ptr())) {
        if (std::int64_t number = 0; nb::try_cast(value, number)) return number;
        if (std::uint64_t number = 0; nb::try_cast(value, number)) return number;
        return HUGE_VAL;  // more than any option may be
    }
    fail("[{}] expected a number, a text, True or False as {}, got {}", place, name,
         shown(nb::cast<std::string>(nb::repr(value))));
}

}  // namespace

nlohmann::json options_json(const std::string& place, const nb::dict& options) {
    nlohmann::json json = nlohmann::json::object();
    for (const auto& [key, value] : options) {
        const std::string name = nb::cast<std::string>(key);
        json[name] = value_json(place, name, value);
    }
    return json;
}

}  // namespace slimgrad::runs
