#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "autograd/tape.h"
#include "integer.h"
#include "nn/module.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {

/// The NumPy name of `real`.
inline constexpr const char* dtype_name = sizeof(real) == 4 ? "float32" : "float64";

// Each file binds one room. `core` holds the functions, overloaded for both precisions; `here` the
// classes of this one.
void bind_tensor(nb::module_& core, nb::module_& here);
void bind_random(nb::module_& here);
void bind_ops(nb::module_& core);
void bind_tape(nb::module_& core, nb::module_& here);
void bind_function(nb::module_& here);
void bind_module(nb::module_& core, nb::module_& here);
void bind_layers(nb::module_& core, nb::module_& here);
void bind_token_layers(nb::module_& here);
void bind_sequential(nb::module_& here);
void bind_rules(nb::module_& core, nb::module_& here);
void bind_models(nb::module_& core, nb::module_& here);
void bind_optim(nb::module_& core, nb::module_& here);
void bind_instant(nb::module_& here);
void bind_methods(nb::module_& core, nb::module_& here);
void bind_lab(nb::module_& here);
void bind_data(nb::module_& core, nb::module_& here);
void bind_measure(nb::module_& core, nb::module_& here);
void bind_gradcheck(nb::module_& core, nb::module_& here);

/// A reference to a Python object that C++ may drop on any thread.
class PythonObject {
  public:
    explicit PythonObject(nb::object object) : object_(std::move(object)) {}
    ~PythonObject() {
        if (!Py_IsInitialized()) {
            object_.release();  // too late to free anything
            return;
        }
        const nb::gil_scoped_acquire gil;
        object_.reset();
    }
    PythonObject(const PythonObject&) = delete;
    PythonObject& operator=(const PythonObject&) = delete;

    const nb::object& get() const { return object_; }

  private:
    nb::object object_;
};

/// A Tensor, or any array of this precision on the CPU (NumPy, DLPack), shared where that is
/// possible; see tensor.cpp. Throws Error for another dtype.
Tensor to_tensor(nb::handle value, const char* where);
/// A number as `real`. Throws Error, in the name of `where`, if a finite one does not fit.
real to_real(double value, const char* where);
real to_real(nb::handle number, const char* where);

/// Integers of any shape, in row-major order.
struct Indices32 {
    std::vector<std::int32_t> values;
    Shape shape;
};
/// Any sequence or array of integers. Throws Error for other types, none is rounded, and for
/// integers that do not fit into 32 bits.
Indices32 to_indices(nb::handle value, const char* where);

/// The same as to_tensor, but a number becomes a scalar.
Tensor to_tensor_or_scalar(nb::handle value, const char* where);
/// A NumPy array on the same memory, which it keeps alive.
nb::object to_numpy(const Tensor& tensor);
/// (2, 3) as a tuple.
nb::tuple to_tuple(const Shape& shape);

/// str(object).
inline std::string text(nb::handle object) {
    return nb::cast<std::string>(nb::steal(PyObject_Str(object.ptr())));
}

/// The module behind a Python object. Throws Error for another object, and for one whose __init__
/// has not called that of sg.nn.Module.
Module& to_module(nb::handle object);
/// The value that a function of Python has given. Throws Error, in the name of `where`, for
/// anything but a Var of this precision.
Var to_var(nb::handle object, const std::string& where);

/// Gives the parts of a model their paths if that has not been done: methods and meters tell layers
/// apart by them.
void name_if_unnamed(Module& model);

/// Keeps the Python objects of all parts of a model alive as long as `nurse`.
void keep_parts(nb::handle nurse, nb::handle model);

/// A Var for Python: keeps its tape alive.
nb::object to_python(const Var& var);

/// For functions that return a Var: the result keeps the Python object of its tape alive, so that
/// the tape may be a temporary.
struct KeepTape {
    static void precall(PyObject**, std::size_t, nb::detail::cleanup_list*) {}
    static void postcall(PyObject**, std::size_t, nb::handle result);
};
using keep_tape = nb::call_policy<KeepTape>;
using no_gil = nb::call_guard<nb::gil_scoped_release>;

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
