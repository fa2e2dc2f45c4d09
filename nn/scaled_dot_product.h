#pragma once

#include <string>
#include <vector>

#include "autograd/tape.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Which keys a query may see. Both parts are optional.
struct AttentionMask {
    /// Added to the scores before the softmax: (L, L) for every sample, or (n, L, L) where sample b
    /// has the mask b mod n and n divides B. -inf excludes.
    Tensor additive;
    /// (B, L): a key whose entry is not 0 is ignored, as padding is.
    Tensor key_padding;

    /// An additive mask from a boolean one in PyTorch's sense: -inf where `excluded` is not 0.
    static Tensor from_boolean(const Tensor& excluded);
};

struct ScaledDotProductOptions {
    std::int64_t heads = 1;
    std::int64_t key_width = 1;  // d: the columns of a head in Q and K; V may have others
    /// Of one input for all: its columns are q, k and v of the first head, then of the next; else
    /// q of all heads, then k, then v.
    bool by_head = false;
    AttentionMask mask{};
    double dropout = 0;  // on the probabilities, in training
};

/// softmax(Q Kᵀ / √d + bias + mask) V for each sample and head (Vaswani et al. 2017). `qkv`: Q and
/// K, (B, L, heads · d), and V, (B, L, heads · dv); or one value (B, L, heads · (2 d + dv)).
/// `bias`, (heads, L, L), may be null; it gets a gradient. Gives (B, L, heads · dv). A query that
/// may see no key at all gives NaN, as in PyTorch. Throws Error, in the name of `name`, for other
/// shapes.
Var scaled_dot_product_attention(const std::string& name, const std::vector<Var>& qkv,
                                 const Var* bias, const ScaledDotProductOptions& options);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
