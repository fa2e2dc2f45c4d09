#pragma once

#include <deque>

#include "instant/methods/method.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The entries that come with slimgrad, in the order in which help lists them, and those that were
/// registered. A new method of the library has its entry here; all others read methods().
std::deque<Method>& method_table();

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
