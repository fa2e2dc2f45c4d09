#pragma once

#include <string>

#include "tensor/error.h"

namespace slimgrad {

/// What `f` throws, as the user reads it; "no error" if it throws none.
template <class F>
std::string error_of(F&& f) {
    try {
        f();
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

}  // namespace slimgrad
