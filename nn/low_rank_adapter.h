#pragma once

#include <functional>
#include <string>

#include "nn/linear.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What a frozen linear layer learns instead of its weight (LoRA, Hu et al. 2022): the product of
/// two small matrices,
///
///   y = x Wᵀ + b + (α/r) (x Aᵀ) Bᵀ        A: (r, Cx), B: (Cy, r)
///
/// A and B are ordinary linear layers without bias, `lora_A` and `lora_B` as PEFT names them:
/// rules, calibrations, counts, optimisers and checkpoints find three maps and need to know
/// nothing. A multiplies the x of W and is in its input group; W, which is frozen, keeps nothing of
/// x. A starts as a Linear does (Kaiming uniform, a = √5) and B at 0, so an adapted model begins as
/// it was.
///
/// A layer that stands for several maps (parts(): q, k and v) has r rows of A for each. B is dense
/// and sees all of them; the scale stays α/r.
class LowRankAdapter {
  public:
    /// For `base`, which must outlive it. The values of A are a function of the seed and the path
    /// of `base`. Throws Error unless r is from 1 to the shorter side of W (of one of its parts),
    /// and α is finite.
    LowRankAdapter(const LinearMap& base, std::int64_t rank, double alpha, std::uint64_t seed);

    /// (α/r) (x Aᵀ) Bᵀ
    Var forward(const Var& x);
    void visit(Visitor& visitor);

    std::int64_t rank() const { return rank_; }
    double alpha() const { return alpha_; }
    const Linear& a() const { return a_; }
    const Linear& b() const { return b_; }
    /// (α/r) B A: what would have to be added to W.
    Tensor update() const;

  private:
    std::int64_t rank_;
    double alpha_;
    real scale_;
    Linear a_, b_;
};

/// The largest rank that an adapter of W: (Cy, Cx) may have, where W stands for `parts` maps.
std::int64_t largest_adapter_rank(std::int64_t in_channels, std::int64_t out_channels,
                                  std::int64_t parts);

/// Whether a layer of the model has an adapter.
bool has_adapters(Module& root);

/// The parameters of a model but for its adapters: those that a checkpoint from before them holds.
void for_each_base_parameter(Module& root,
                             const std::function<void(const std::string& path, Parameter&)>& f);
/// The values of those parameters in a model that computes the same without adapters: W + (α/r) B A
/// where W has one.
void for_each_merged_value(Module& root,
                           const std::function<void(const std::string& path, const Tensor&)>& f);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
