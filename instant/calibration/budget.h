#pragma once

#include <cstdint>
#include <vector>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A calibrated slot, as the choice of all ranks at once sees it.
struct SlotChoice {
    std::vector<double> shares{};  // of the slot's energy Σ σᵢ, of each direction, largest first
    double flops_of_rank = 0;      // what one direction costs
    std::int64_t least = 1, most = 1;  // ranks
};

/// Ranks that together cost at most `flops`: every slot gets its least, and then directions of all
/// slots are added, those first that keep most of their slot's energy for a FLOP, as long as they
/// fit. Shares fall, so no other choice of the same cost keeps a larger sum of shares, but for the
/// last direction. If the least ranks alone cost more, they are what comes back.
std::vector<std::int64_t> ranks_within(double flops, const std::vector<SlotChoice>& slots);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
