#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The words of Philox 4x32-10 (Salmon et al., SC 2011) for the counters c, c + 1, … (in their
/// first word, which wraps), as many as fill whole vectors: four words a counter, in order. Returns
/// the number of counters.
std::uint32_t philox_blocks(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key,
                            std::span<std::uint32_t> out);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
