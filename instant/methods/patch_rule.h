#pragma once

#include <string>

#include "instant/methods/method.h"
#include "instant/methods/patch_grid.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// "16x32": how the tokens are an image. Empty: as the model states it.
const Option& grid_option();

/// Backward from few rows that stand for many tokens:
///
///   kept of x   x̂: (B, n, C)
///   g_w         Σ_b ĝ_bᵀ x̂_b of ĝ: (B, n, Cy)
///   g_x         ĝ W, spread over the tokens
///
/// ĝ is made once for both. A method says how x̂ and ĝ come from tokens, and how g_x comes back.
class PatchRule : public BackwardRule {
  public:
    /// `form`: what x̂ depends on beside its x: the method and its options.
    PatchRule(const MethodOptions& options, std::int64_t patch, std::string form);

    bool applies(const LinearCall& call) const override { return call.op->tokens() >= min_tokens_; }
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override;
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override;

  protected:
    PatchGrid grid(const LinearCall& call) const { return patch_grid(call, grid_, patch_); }
    virtual Tensor reduce_x(const LinearInput& x, const LinearCall& call) const = 0;      // x̂
    virtual Tensor reduce_g(const LinearGradient& gy, const LinearCall& call) const = 0;  // ĝ
    virtual Tensor gw(const Tensor& g_hat, const Tensor& x_hat, const LinearCall& call) const;
    virtual Tensor gx(const Tensor& g_hat, const LinearCall& call) const = 0;

  private:
    std::string grid_;
    std::int64_t patch_, min_tokens_;
    std::string form_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
