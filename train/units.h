#pragma once

#include <string>

namespace slimgrad::units {

// Three significant digits, a prefix and the unit, for people: "12.3 GFLOP", "8.14 MiB". NaN is
// "–".
std::string flops(double value);
std::string bytes(double value);

}  // namespace slimgrad::units
