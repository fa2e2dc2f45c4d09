#include "instant/methods/rank_controller.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

RankController::RankController(double tolerance, std::int64_t first, std::int64_t most)
    : tolerance_(tolerance),
      most_(std::max<std::int64_t>(most, 1)),
      rank_(std::clamp<std::int64_t>(first, 1, most_)) {}

std::int64_t RankController::rank(std::uint64_t step) {
    const std::lock_guard lock(mutex_);
    if (step != step_) conclude();
    step_ = step;
    return rank_;
}

void RankController::observe(std::uint64_t step, const std::vector<double>& energies,
                             double total) {
    const std::lock_guard lock(mutex_);
    if (step != step_) conclude();
    step_ = step;
    energies_.resize(std::max(energies_.size(), energies.size()), 0);
    for (std::size_t i = 0; i < energies.size(); ++i) energies_[i] += energies[i];
    total_ += total;
}

std::int64_t RankController::next_rank() {
    const std::lock_guard lock(mutex_);
    conclude();
    return rank_;
}

void RankController::set_rank(std::int64_t rank) {
    const std::lock_guard lock(mutex_);
    rank_ = std::clamp<std::int64_t>(rank, 1, most_);
    energies_.clear();
    total_ = 0;
}

/// Goes over to the next rank, once for what was seen.
void RankController::conclude() {
    if (total_ > 0) {
        std::vector<double> sorted = std::move(energies_);
        std::ranges::sort(sorted, std::greater());
        const double asked = (1 - tolerance_) * total_;
        double kept = 0;
        std::int64_t enough = 0;
        for (const double energy : sorted) {
            if (kept >= asked) break;
            kept += energy;
            ++enough;
        }
        const bool at_its_rank = std::ssize(sorted) >= rank_;
        if (kept < asked && at_its_rank)
            rank_ = std::min(most_, rank_ + std::max<std::int64_t>(1, rank_ / 4));
        else if (kept >= asked && rank_ - enough >= std::max<std::int64_t>(1, rank_ / 8))
            rank_ = std::max<std::int64_t>(1, enough);
    }
    energies_.clear();
    total_ = 0;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
