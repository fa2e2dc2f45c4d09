#pragma once

#include <memory>

#include "nn/linear.h"
#include "nn/scaled_dot_product.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

struct AttentionOptions {
    double dropout = 0;  // on the probabilities
    bool fused_qkv = false;
    bool bias = true;
};

/// Self-attention with several heads (Vaswani et al. 2017): softmax(Q Kᵀ / √d) V for each head of
/// width d = embed_dim / heads, then the projection `proj`. Q, K and V come from three linear
/// layers `q`, `k` and `v` that share their input, or from one layer `qkv` whose rows are those of
/// q, k and v in turn (the order of PyTorch's in_proj_weight). All are ordinary Linear layers,
/// initialised as such, so that every backward rule applies to them.
class MultiHeadAttention final : public Module {
  public:
    /// Throws Error unless heads divides embed_dim and dropout is a probability.
    MultiHeadAttention(std::int64_t embed_dim, std::int64_t heads, Stream& stream,
                       const AttentionOptions& options = {});

    /// x: (B, L, embed_dim). A query that may see no key at all gives NaN, as in PyTorch. Throws
    /// Error for another shape of x or of the mask.
    Var forward(const Var& x) override { return forward(x, {}); }
    Var forward(const Var& x, const AttentionMask& mask);
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "attention"; }
    std::int64_t embed_dim() const { return embed_dim_; }
    std::int64_t heads() const { return heads_; }
    const AttentionOptions& options() const { return options_; }

  private:
    std::int64_t embed_dim_, heads_;
    AttentionOptions options_;
    std::unique_ptr<Linear> qkv_;        // fused, or
    std::unique_ptr<Linear> q_, k_, v_;  // separate
    Linear proj_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
