#include "train/units.h"

#include <fmt/format.h>

#include <cmath>
#include <string_view>

namespace slimgrad::units {
namespace {

/// `base` is 1000 or 1024.
std::string scaled(double value, double base) {
    constexpr std::string_view prefixes = " kMGTPE";
    std::size_t i = 0;
    for (; std::abs(value) >= 999.5 && i + 1 < 7; ++i) value /= base;
    const int decimals = i == 0 || std::abs(value) >= 100 ? 0 : std::abs(value) >= 10 ? 1 : 2;
    std::string unit = i == 0 ? "" : std::string(1, prefixes[i]);
    if (i > 0 && base == 1024) unit = (i == 1 ? "K" : unit) + "i";
    return fmt::format("{:.{}f} {}", value, decimals, unit);
}

}  // namespace

std::string flops(double value) { return std::isnan(value) ? "–" : scaled(value, 1000) + "FLOP"; }
std::string bytes(double value) { return std::isnan(value) ? "–" : scaled(value, 1024) + "B"; }

}  // namespace slimgrad::units
