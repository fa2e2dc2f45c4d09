#pragma once

#include <vector>

namespace slimgrad::bench {

/// The middle of some measurements and how far they spread. Means are left to others: what disturbs
/// a measurement makes it longer, never shorter.
struct Spread {
    double median = 0, lower = 0, upper = 0;  // quartiles
};

/// Quartiles with linear interpolation between measurements. Throws Error if there are none.
Spread spread(std::vector<double> values);

}  // namespace slimgrad::bench
