#pragma once

#include <nanobind/nanobind.h>

#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "tensor/error.h"

namespace slimgrad {

/// An integer argument. One that does not fit into T is an Error of the library when it is used;
/// nanobind alone would say no more than that no signature fits.
template <std::integral T>
class Integer {
  public:
    Integer() = default;
    Integer(T value) : value_(value) {}  // NOLINT: it is a number
    /// What does not fit, as text.
    static Integer other(std::string text) {
        Integer integer;
        integer.other_ = std::move(text);
        return integer;
    }
    operator T() const {  // NOLINT
        require(other_.empty(), "[argument] expected an integer from {} to {}, got {}",
                std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), other_);
        return value_;
    }

  private:
    T value_ = 0;
    std::string other_;
};

using Int = Integer<std::int64_t>;
using Natural = Integer<std::uint64_t>;
using Int32 = Integer<std::int32_t>;
/// A shape, or an order of axes.
using Ints = std::vector<Int>;

inline std::vector<std::int64_t> to_shape(const Ints& lengths) {
    return {lengths.begin(), lengths.end()};
}

}  // namespace slimgrad

namespace nanobind::detail {

template <std::integral T>
struct type_caster<slimgrad::Integer<T>> {
    NB_TYPE_CASTER(slimgrad::Integer<T>, const_name("int"))

    bool from_python(handle source, std::uint32_t flags, cleanup_list* cleanup) noexcept {
        make_caster<T> caster;
        if (caster.from_python(source, flags, cleanup)) {
            value = caster.operator cast_t<T>();
            return true;
        }
        if (!PyLong_Check(source.ptr()) &&
            !((flags & cast_flags::convert) && PyIndex_Check(source.ptr())))
            return false;
        PyObject* number = PyNumber_Index(source.ptr());
        PyObject* text = number ? PyObject_Str(number) : nullptr;
        const char* digits = text ? PyUnicode_AsUTF8(text) : nullptr;
        if (!digits) PyErr_Clear();  // of thousands of digits
        if (number) value = slimgrad::Integer<T>::other(digits ? digits : "a far larger one");
        Py_XDECREF(text);
        Py_XDECREF(number);
        return number != nullptr;
    }
};

}  // namespace nanobind::detail
