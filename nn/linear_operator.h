#pragma once

#include "tensor/kernels/im2col.h"
#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Which axis of x (or g_y) a subspace shortens: tokens (L) or channels (C).
enum class Side { token, channel };

/// The rows that x or g_y is projected onto: (R, L) on the token side, (R, C) on the channel side.
/// One serves all samples of a batch.
struct Subspace {
    Side side = Side::token;
    Tensor basis;

    std::int64_t rank() const { return basis.size(0); }
    std::int64_t dim() const { return basis.size(1); }
};

/// Throws Error, naming the open layer, unless the subspace is one of `tokens` tokens or of
/// `channels` channels, whichever its side is.
void require_fits(const Subspace& subspace, std::int64_t tokens, std::int64_t channels);

/// P g and Q g of one gradient, and its sum over samples and tokens where that was made on the way.
struct ProjectedGradient {
    Tensor p, q, sum{};
};

/// The map y = x Wᵀ of L tokens a sample, x: (B, L, Cx), W: (Cy, Cx), in the form in which its
/// layer has x and y: a Linear as (B, ..., C), a Conv2d as images, whose x it never unfolds. Rules
/// are written with these products, and so serve both.
///
///                 token side                      channel side
///   x̂             project(P, x)    (B, R, Cx)     forward(x, P)      x Pᵀ, an x of R channels
///   ĝ             project(Q, g)    (B, R, Cy)     mix(g, Q)          g Qᵀ, a y of R channels
///   g_w           Σ_b ĝ_bᵀ x̂_b                    pair(g, x̂) P
///   g_x           expand(Q, ĝ, W)                 gx(ĝ, Q W)
///
/// An operator is made for the shape of one x. FLOPs count under the open phase; those of folding,
/// which a convolution has, under `fold`, those of bias gradients under `g_b`. Shapes that do not
/// fit throw Error that names the open layer.
class LinearOperator {
  public:
    virtual ~LinearOperator() = default;

    // --- shapes ---
    virtual std::int64_t tokens() const = 0;                     // L
    virtual const Shape& x_shape() const = 0;                    // as the layer has it
    virtual Shape y_shape(std::int64_t out_channels) const = 0;  // as the layer has it
    std::int64_t batch() const { return x_shape()[0]; }
    /// How a convolution reads x: (B, C, H, W); null where x is a matrix of tokens.
    virtual const Window2d* window() const { return nullptr; }

    // --- exact products, of x and g_y as the layer has them ---
    /// y = x Wᵀ; also x Pᵀ.
    virtual Tensor forward(const Tensor& x, const Tensor& w) const = 0;
    /// g_w = Σ_b g_bᵀ x_b: (Cy, Cx)
    virtual Tensor gw(const Tensor& gy, const Tensor& x) const = 0;
    /// g_x = g W
    virtual Tensor gx(const Tensor& gy, const Tensor& w) const = 0;
    /// g_b = Σ g over samples and tokens: (Cy,)
    virtual Tensor gb(const Tensor& gy) const = 0;
    virtual void add_bias_in_place(Tensor& y, const Tensor& b) const = 0;

    // --- the matrices that these products multiply, (B, L, C), and the way back ---
    virtual Tensor x_matrix(const Tensor& x) const = 0;
    virtual Tensor y_matrix(const Tensor& y) const = 0;
    virtual Tensor x_of(const Tensor& matrix) const = 0;  // a g_x: what overlaps is added up
    virtual Tensor y_of(const Tensor& matrix) const = 0;

    // --- the token side ---
    /// P x: (B, R, Cx)
    virtual Tensor project(const Subspace& p, const Tensor& x) const = 0;
    /// P g and Q g: (B, R, Cy), under the phases `g_w` and `g_x`; either subspace may be null, and
    /// what it would give is then undefined. Where g is read once for both, `with_sum` also makes
    /// gb(g) on the way, to the same bits.
    virtual ProjectedGradient project(const Subspace* p, const Subspace* q, const Tensor& gy,
                                      bool with_sum) const = 0;
    /// g_x = Qᵀ (ĝ W) of ĝ: (B, R, Cy)
    virtual Tensor expand(const Subspace& q, const Tensor& g_hat, const Tensor& w) const = 0;

    // --- the channel side ---
    /// g Aᵀ of A: (R, Cy), as a y of R channels
    virtual Tensor mix(const Tensor& gy, const Tensor& a) const = 0;
    /// Σ_b g_bᵀ x̂_b of an x̂ that forward(x, P) has made: (Cy, R)
    virtual Tensor pair(const Tensor& gy, const Tensor& x_hat) const = 0;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
