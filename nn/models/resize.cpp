#include "nn/models/resize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// The four cells of an axis that a point lies between, and what each counts.
struct Taps {
    std::array<std::int64_t, 4> cell;
    std::array<double, 4> weight;
};

/// Keys' kernel.
double cubic(double distance) {
    constexpr double a = -0.75;
    const double t = std::abs(distance);
    if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    if (t < 2) return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
    return 0;
}

std::vector<Taps> taps_of(std::int64_t from, std::int64_t to) {
    std::vector<Taps> all(static_cast<std::size_t>(to));
    const double ratio = static_cast<double>(from) / static_cast<double>(to);
    for (std::int64_t i = 0; i < to; ++i) {
        const double place = ratio * (static_cast<double>(i) + 0.5) - 0.5,
                     floor = std::floor(place);
        Taps& taps = all[static_cast<std::size_t>(i)];
        for (std::size_t k = 0; k < 4; ++k) {
            const double cell = floor - 1 + static_cast<double>(k);
            taps.cell[k] = std::clamp<std::int64_t>(static_cast<std::int64_t>(cell), 0, from - 1);
            taps.weight[k] = cubic(place - cell);
        }
    }
    return all;
}

}  // namespace

void resize_bicubic(const Shape& grid, const real* from, std::int64_t rows, std::int64_t columns,
                    real* to) {
    require(grid.size() == 3 && grid[0] > 0 && grid[1] > 0 && rows > 0 && columns > 0,
            "[resize] expected a grid (rows, columns, width), got {} for {}x{}", shown(grid), rows,
            columns);
    const std::int64_t width = grid[2];
    const std::vector<Taps> down = taps_of(grid[0], rows), across = taps_of(grid[1], columns);
    std::vector<double> sum(static_cast<std::size_t>(width));
    for (const Taps& row : down)
        for (const Taps& column : across) {
            std::ranges::fill(sum, 0.0);
            for (std::size_t i = 0; i < 4; ++i)
                for (std::size_t j = 0; j < 4; ++j) {
                    const double weight = row.weight[i] * column.weight[j];
                    const real* cell = from + (row.cell[i] * grid[1] + column.cell[j]) * width;
                    for (std::size_t k = 0; k < sum.size(); ++k)
                        sum[k] += weight * static_cast<double>(cell[k]);
                }
            to = std::ranges::transform(sum, to, [](double v) { return static_cast<real>(v); }).out;
        }
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
