#pragma once

#include <cstdint>

#include "instant/methods/method.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The rank R* above which compressing one slot of y = x Wᵀ, x (L, Cx), W (Cy, Cx), costs more
/// FLOPs than it saves. One sample, rank R:
///
///              exact       token side                    channel side
///   x slot     2 L Cx Cy   2 R (L Cx + L Cy + Cx Cy)      2 R (L Cx + L Cy) + 2 R Cx Cy / batch
///   g slot     2 L Cx Cy   2 R (L Cy + Cy Cx + L Cx)      2 R (L Cy + L Cx) + 2 R Cy Cx / batch
///
/// (the x slot's terms: compressing x, and the two products of g_w; on the channel side the product
/// with the projector is made once a batch). So both slots break even at the same rank,
///
///   R* = L Cx Cy / (L Cx + L Cy + Cx Cy / s),   s = 1 on the token side, batch on the channel
///   side,
///
/// which is less than the length of the axis. Layers that share one compressed x (Q, K and V) are,
/// for their x slot, one layer with all their output channels. Saved bytes have a rank of their own
/// below which they fall; it is not this one.
double break_even_rank(std::int64_t tokens, std::int64_t in_channels, std::int64_t out_channels,
                       Side side, std::int64_t batch = 1);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
