#include "instant/lab/range_finder.h"

#include <algorithm>
#include <numeric>

#include "instant/lab/snr.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

double tail(const std::vector<double>& squares, std::int64_t rank) {
    const auto from = std::min<std::ptrdiff_t>(rank, std::ssize(squares));
    return std::accumulate(squares.begin() + from, squares.end(), 0.0);
}

double bound(const std::vector<double>& squares, std::int64_t rank) {
    double least = tail(squares, 0);
    for (std::int64_t k = 2; k <= rank - 2; ++k)
        least = std::min(least, (1 + static_cast<double>(k) / static_cast<double>(rank - k - 1)) *
                                    tail(squares, k));
    return least;
}

}  // namespace

RangeFinderStudy::RangeFinderStudy(Side side, std::vector<std::int64_t> ranks, std::int64_t draws)
    : side_(side), ranks_(std::move(ranks)), draws_(draws), sums_(ranks_.size()) {
    require(draws >= 1, "[range finder] expected at least one draw, got {}", draws);
}

void RangeFinderStudy::add(const Tensor& g, std::uint64_t seed, std::uint64_t step) {
    const bool token = side_ == Side::token;
    const std::int64_t axis = g.size(token ? 1 : 2), other = g.size(token ? 2 : 1);
    for (std::int64_t b = 0; b < g.size(0); ++b) {
        GradientCovariance covariance(side_);
        covariance.add(g.rows(b, 1));
        const std::vector<double> squares = covariance.modes().sigma;  // σ_j²
        total_ += tail(squares, 0);
        beyond_ += tail(squares, 1);
        for (std::size_t i = 0; i < ranks_.size(); ++i) {
            sums_[i].optimum += tail(squares, ranks_[i]);
            sums_[i].bound += bound(squares, ranks_[i]);
        }
    }
    for (std::size_t i = 0; i < ranks_.size(); ++i)
        for (std::int64_t draw = 0; draw < draws_; ++draw) {
            Stream stream(seed, "range finder", step, static_cast<std::uint32_t>(draw));
            const Tensor omega = normal({std::min(ranks_[i], axis), other}, 0, 1, stream);
            const auto lost = [&](std::int64_t power) {
                const Sketch s = sketch(g, {.side = side_, .power = power}, omega);
                return (1 - s.kept()) * s.total / static_cast<double>(draws_);
            };
            sums_[i].sketched += lost(0);
            sums_[i].powered += lost(1);
        }
}

std::vector<RangeFinderLoss> RangeFinderStudy::losses() const {
    std::vector<RangeFinderLoss> all;
    for (std::size_t i = 0; i < ranks_.size(); ++i) {
        const Sums& s = sums_[i];
        all.push_back({ranks_[i], s.optimum / total_, s.sketched / total_, s.powered / total_,
                       s.bound / total_});
    }
    return all;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
