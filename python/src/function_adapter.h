#pragma once

#include <memory>

#include "bind.h"
#include "nn/backward_rule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {

/// A Python object with forward and backward (sg.Function) as a function of this precision. It
/// holds the object, unless that is `kept` by whoever uses the function.
std::shared_ptr<const Function> adapt_function(nb::object function, bool kept);

/// A Python object with save and backward (sg.BackwardRule), one of the library's own rules, or
/// None for the exact one.
std::shared_ptr<const BackwardRule> adapt_rule(nb::object rule);
/// The Python object again.
nb::object rule_to_python(const std::shared_ptr<const BackwardRule>& rule);
/// The same object if the rule was written in Python, else null.
PyObject* python_object_of(const BackwardRule& rule);

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
