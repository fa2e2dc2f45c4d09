#pragma once

#include <optional>
#include <vector>

#include "instant/methods/method.h"
#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A sample of what a layer sees: x (B₀, L, Cx) and g_y (B₀, L, Cy).
struct CalibrationPair {
    Tensor x, gy;
};

struct LabOptions {
    MethodOptions method{};
    /// What the projectors are made from, as if each pair were one batch of a calibration. Without
    /// it the layer is calibrated on the very (x, g_y) that it then differentiates: the best that
    /// the subspaces can do.
    std::optional<std::vector<CalibrationPair>> calibration{};
    Tensor bias{};  // (Cy,), or undefined
    /// Rows and columns of the tokens, for methods that treat them as an image; what x has more
    /// stands before them.
    TokenLayout layout{};
    std::uint64_t seed = 0;
};

/// What the meter counted for the whole batch; what the bias costs is left out.
struct LabFlops {
    std::int64_t forward = 0;    // y = x Wᵀ
    std::int64_t compress = 0;   // what the method adds to forward
    std::int64_t g_w = 0;        // making g_w, with the projection of g_y
    std::int64_t g_x = 0;        // making g_x, with the projection of g_y
    std::int64_t calibrate = 0;  // everything that made P and Q
};

struct LabResult {
    Tensor y, gx, gw;
    Tensor gb;    // undefined without a bias
    Tensor p, q;  // (R, n), scaled by the offset as they are used; undefined for an exact slot
    std::optional<Side> side_x, side_g;
    std::optional<std::int64_t> rank_x, rank_g;
    Tensor u;                      // (B, L, R): the basis that a sketch makes of each sample's g_y
    std::optional<double> kept;    // the share of Σ g_y² that a sketch holds
    std::int64_t saved_bytes = 0;  // held between forward and backward, from the ledger
    std::int64_t projector_bytes = 0;  // P and Q
    LabFlops flops;
};

/// One linear layer y = x Wᵀ + b on a bench: run forward once on x (B, L, Cx) with W (Cy, Cx) and
/// backward once from g_y (B, L, Cy), by the library's own tape, layer, calibrator and rules, and
/// report everything that came out. Unlike a model in training, it compresses whatever it is asked
/// to, also a single token, a full rank, or a rank beyond break-even.
///
/// Throws Error for an unknown method, options out of range, shapes that do not fit and values that
/// are not finite.
LabResult lab_linear(const Tensor& x, const Tensor& w, const Tensor& gy, LabOptions options = {});

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
