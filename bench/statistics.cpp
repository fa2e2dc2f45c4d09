#include "bench/statistics.h"

#include <algorithm>

#include "tensor/error.h"

namespace slimgrad::bench {

Spread spread(std::vector<double> values) {
    require(!values.empty(), "[bench] no measurement to take the median of");
    std::ranges::sort(values);
    const auto quantile = [&](double q) {
        const double at = q * static_cast<double>(values.size() - 1);
        const auto below = static_cast<std::size_t>(at);
        const std::size_t above = std::min(below + 1, values.size() - 1);
        return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
    };
    return {quantile(0.5), quantile(0.25), quantile(0.75)};
}

}  // namespace slimgrad::bench
