#include "instant/calibration/budget.h"

#include <algorithm>
#include <queue>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// The direction that a slot would add next.
struct Candidate {
    double worth;  // share of the energy for a FLOP
    std::size_t slot;

    bool operator<(const Candidate& other) const {  // of equal ones the first slot's comes first
        return worth != other.worth ? worth < other.worth : slot > other.slot;
    }
};

}  // namespace

std::vector<std::int64_t> ranks_within(double flops, const std::vector<SlotChoice>& slots) {
    std::vector<std::int64_t> ranks;
    std::priority_queue<Candidate> next;
    const auto offer = [&](std::size_t i) {
        const auto rank = static_cast<std::size_t>(ranks[i]);
        if (ranks[i] < slots[i].most && rank < slots[i].shares.size() && slots[i].shares[rank] > 0)
            next.push({slots[i].shares[rank] / slots[i].flops_of_rank, i});
    };
    for (std::size_t i = 0; i < slots.size(); ++i) {
        ranks.push_back(slots[i].least);
        flops -= static_cast<double>(slots[i].least) * slots[i].flops_of_rank;
        offer(i);
    }
    while (!next.empty()) {
        const std::size_t slot = next.top().slot;
        next.pop();
        if (slots[slot].flops_of_rank > flops) continue;  // its later ones cost as much
        flops -= slots[slot].flops_of_rank;
        ++ranks[slot];
        offer(slot);
    }
    return ranks;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
