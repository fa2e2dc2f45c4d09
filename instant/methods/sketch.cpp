#include "instant/methods/sketch.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "tensor/checked.h"
#include "tensor/kernels/lane_sum.h"
#include "tensor/kernels/orthonormal.h"
#include "tensor/kernels/skinny.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// The gradient of one sample, and the products of a sketch with it.
struct SampleGradient {
    const real* g;
    std::int64_t tokens, channels;
    Side side;

    std::int64_t axis() const { return side == Side::token ? tokens : channels; }
    std::int64_t other() const { return side == Side::token ? channels : tokens; }

    /// (rows, L) g = (rows, Cy)
    void over_tokens(std::int64_t rows, const real* a, real* out) const {
        project_sample(tokens, channels, rows, g, a, out);
    }
    /// (rows, Cy) gᵀ = (rows, L)
    void over_channels(std::int64_t rows, const real* a, real* out) const {
        mix_sample(tokens, channels, rows, g, a, out);
    }
    /// A basis, along the axis of the side, from rows along the other; and Σ g². On the token side
    /// 1ᵀ g too, added to `sum`.
    double start(std::int64_t rows, const real* omega, real* basis, real* sum) const {
        double squares = 0;
        if (side == Side::token) {
            mix_sample(tokens, channels, rows, g, omega, basis, {&squares, sum});
        } else {
            over_tokens(rows, omega, basis);
        }
        constexpr double tiny = 1e-25;  // squares in single precision may have vanished
        if (squares < tiny) squares = dot_in_double(g, g, tokens * channels);
        orthonormalise(rows, axis(), basis);
        return squares;
    }
    /// A power step. `between`: room for rows along the other axis.
    void improve(std::int64_t rows, real* basis, real* between) const {
        if (side == Side::token) {
            iterate_sample(tokens, channels, rows, g, basis);
        } else {
            over_channels(rows, basis, between);
            over_tokens(rows, between, basis);
        }
        orthonormalise(rows, axis(), basis);
    }
    void coefficients_of(std::int64_t rows, const real* basis, real* out) const {
        side == Side::token ? over_tokens(rows, basis, out) : over_channels(rows, basis, out);
    }
};

}  // namespace

std::int64_t orthonormalise_flops(std::int64_t rank, std::int64_t length) {
    Checked flops = Checked(rank) * length;  // to a common size
    for (std::int64_t j = 0; j < rank; ++j) {
        const Checked n = length - j;
        flops += 5 * n;                   // two norms and a division
        flops += 4 * n * (rank - j - 1);  // on the rows below
        flops += 4 * n * (rank - j);      // on those of the result
    }
    return flops;
}

std::int64_t sketch_flops(const SketchOptions& options, std::int64_t rank, std::int64_t tokens,
                          std::int64_t channels) {
    const std::int64_t length = options.side == Side::token ? tokens : channels;
    const Checked l = tokens, cy = channels, r = rank;
    Checked flops = (options.power + 1) * (4 * r * l * cy + orthonormalise_flops(rank, length));
    flops += 2 * (l * cy + r * (tokens + channels - length));
    const std::int64_t random = std::min(options.complement, length - rank);
    if (random > 0)
        flops +=
            orthonormalise_flops(rank + random, length) + 2 * random * l * cy + random * (l + cy);
    return flops;
}

double Sketch::kept() const {
    // Both are sums of rounded numbers.
    return total > 0 ? std::min(1.0, std::accumulate(energies.begin(), energies.end(), 0.0) / total)
                     : 1;
}

Sketch sketch(const Tensor& g, const SketchOptions& options, const Tensor& omega,
              const Tensor& tail) {
    const std::int64_t batch = g.size(0), tokens = g.size(1), channels = g.size(2);
    const bool token = options.side == Side::token;
    const std::int64_t axis = token ? tokens : channels, other = token ? channels : tokens;
    const std::int64_t rank = omega.size(0);
    require(rank <= axis && omega.size(1) == other,
            "[sketch] expected at most {} random rows of {} numbers, got {}", axis, other,
            shown(omega));
    const std::int64_t random = std::min(options.complement, axis - rank), rows = rank + random;
    const double unbiased =
        static_cast<double>(axis - rank) / static_cast<double>(std::max<std::int64_t>(random, 1));
    const auto root = static_cast<real>(std::sqrt(options.scale.value_or(unbiased)));

    Tensor bases({batch, rows, axis}), coefficients({batch, rows, other});
    Tensor sums = token ? Tensor::zeros({batch, channels}) : Tensor();
    // Of each sample the squares of g and of every principal row.
    std::vector<double> found_squares(static_cast<std::size_t>(batch * (1 + rank)));
#pragma omp parallel for schedule(static) if (batch > 1 && g.numel() * rank > (1 << 16))
    for (std::int64_t b = 0; b < batch; ++b) {
        const SampleGradient sample{g.data() + b * tokens * channels, tokens, channels,
                                    options.side};
        real *basis = bases.data() + b * rows * axis,
             *found = coefficients.data() + b * rows * other;
        double* const of_sample = found_squares.data() + b * (1 + rank);
        of_sample[0] =
            sample.start(rank, omega.data(), basis, token ? sums.data() + b * channels : nullptr);
        for (std::int64_t i = 0; i < options.power; ++i) sample.improve(rank, basis, found);
        sample.coefficients_of(rank, basis, found);
        for (std::int64_t j = 0; j < rank; ++j)
            of_sample[1 + j] = dot_in_double(found + j * other, found + j * other, other);
        if (random == 0) continue;
        // Of [basis; tail] the last rows, made orthonormal, are random directions beside the basis.
        std::vector<real> all(basis, basis + rank * axis);
        all.insert(all.end(), tail.data(), tail.data() + random * axis);
        orthonormalise(rows, axis, all.data());
        std::copy(all.begin() + rank * axis, all.end(), basis + rank * axis);
        sample.coefficients_of(random, basis + rank * axis, found + rank * other);
        std::for_each(basis + rank * axis, basis + rows * axis, [&](real& v) { v *= root; });
        std::for_each(found + rank * other, found + rows * other, [&](real& v) { v *= root; });
    }
    meter().add(Checked(batch) * sketch_flops(options, rank, tokens, channels));
    std::vector<double> energies(static_cast<std::size_t>(1 + rank), 0);
    for (std::size_t i = 0; i < found_squares.size(); ++i)
        energies[i % energies.size()] += found_squares[i];
    const double total = energies.front();
    energies.erase(energies.begin());
    return {token ? bases : coefficients,
            token ? coefficients : bases,
            options.side,
            rank,
            total,
            std::move(energies),
            std::move(sums)};
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
