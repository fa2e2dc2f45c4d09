#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "instant/cost/trace.h"
#include "tensor/checked.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// A byte count is in fp32 whatever the build: the tables of the papers are.
inline constexpr std::int64_t number_bytes = 4;

/// The cost of one linear map for a whole batch. A number that does not fit into 64 bits throws
/// Error.
struct LinearCost {
    Checked forward = 0;   // 2 L Cx Cy a sample
    Checked compress = 0;  // what the x slot adds to forward
    Checked g_w = 0;
    Checked g_x = 0;
    Checked saved_bytes = 0;      // held for backward
    Checked projector_bytes = 0;  // P and Q, once whatever the batch

    /// What the paper's tables count: both products and the compression of x.
    Checked backward() const { return compress + g_w + g_x; }
    LinearCost& operator+=(const LinearCost& other);
};

/// What is counted of a layer.
struct Counted {
    bool gw = true, gx = true;
    /// An earlier layer of its group already keeps what this one would keep of x.
    bool shares_x = false;
    /// As the paper of the method counts, where that is not what runs.
    bool as_published = false;
};

/// How one linear map is compressed. Ranks beyond the length of their axis are cut to it.
struct Compression {
    std::optional<std::int64_t> rank_x, rank_g;  // none: the slot is exact
    Side side_x = Side::token, side_g = Side::token;
    /// The rank of a slot that was left exact since it lies beyond break-even.
    std::optional<std::int64_t> left_x{}, left_g{};
    /// P and Q are drawn in each step: neither kept nor calibrated.
    bool drawn = false;
    /// Random directions beside those of each slot, drawn where they are needed (complement.h).
    std::int64_t complement = 0;
    /// P has weights and a dual for g (Projector).
    bool weighted_x = false;
    /// The closed form of a method that does something else than project the two slots.
    std::function<LinearCost(const LinearShape&, std::int64_t batch, const Counted&)> form{};
    bool form_keeps_x = false;  // as an activation, which a codec may pack
    /// What packs activations, x too where it is kept: beside the form, which does not know of it.
    std::shared_ptr<const Codec> codec{};

    bool keeps_x() const { return form ? form_keeps_x : !rank_x; }
};

/// What a layer holds of x, without the axis of the batch: (L, Cx), or the image (C, H, W).
Shape held_shape(const LinearShape& layer);

/// Vanilla's closed form.
LinearCost exact_cost(const LinearShape& layer, std::int64_t batch, const Counted& counted);

/// The closed form of a layer: that of the compression, or of two projected slots.
LinearCost linear_cost(const LinearShape& layer, const Compression& compression, std::int64_t batch,
                       const Counted& counted);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
