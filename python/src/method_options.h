#pragma once

#include <string>

#include "bind.h"
#include "instant/methods/method.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {

/// A method and its options from keyword arguments, in the words of the command line; None counts
/// as not given. Throws Error, in the name of `where`, for an unknown word and lists the known
/// ones, and for an option that only other methods have.
MethodOptions to_method_options(const std::string& where, const std::string& method,
                                const nb::dict& options);

/// Those keywords in a signature, from epsilon on.
#define SLIMGRAD_METHOD_SIGNATURE                                                      \
    "epsilon: float = 0.95, oversample: int = 5, rank_x: int | None = None, rank_g: "  \
    "int | None = None, side: str = 'auto', side_x: str | None = None, side_g: str | " \
    "None = None, offset: str = 'energy', min_tokens: int = 2, break_even: str = "     \
    "'report', batch: int = 1"

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
