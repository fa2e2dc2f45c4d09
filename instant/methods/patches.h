#pragma once

#include <string>

#include "instant/methods/method.h"
#include "nn/backward_rule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// What methods share that see the tokens of a linear map as an image, and cut it into patches.

/// One side of an image under `count` patches of `patch` positions each. What they cover beyond the
/// image stands at both ends, an odd position more before it: the first patch begins at
/// −⌈(count·patch − length)/2⌉. Where they cover less, the image is left out as evenly.
struct PatchAxis {
    std::int64_t length, patch, count;

    struct Range {
        std::int64_t begin, end;
        std::int64_t size() const { return end - begin; }
    };
    /// Where patch i begins, maybe outside the image.
    std::int64_t start(std::int64_t i) const;
    /// The positions of patch i that lie inside the image.
    Range inside(std::int64_t i) const;
};

/// Tokens that are an image, row by row, in patches. `extra` tokens stand before it (a class
/// token); methods treat them exactly.
struct PatchGrid {
    PatchAxis rows, columns;
    std::int64_t extra = 0;

    std::int64_t patches() const { return Checked(rows.count) * columns.count; }
    std::int64_t patch_size() const { return Checked(rows.patch) * columns.patch; }
    std::int64_t tokens() const { return extra + Checked(rows.length) * columns.length; }
    /// The tokens of the image that some patch covers: all of them, unless patches cover less.
    std::int64_t covered() const;
    /// Calls f(token) for each token of patch p; the extra ones count.
    template <class F>
    void for_each_token(std::int64_t p, F f) const {
        const PatchAxis::Range vertical = rows.inside(p / columns.count);
        const PatchAxis::Range horizontal = columns.inside(p % columns.count);
        for (std::int64_t r = vertical.begin; r < vertical.end; ++r)
            for (std::int64_t c = horizontal.begin; c < horizontal.end; ++c)
                f(extra + r * columns.length + c);
    }
};

/// "16x32": how the tokens are an image. Empty: as the model states it.
const Option& grid_option();

/// The tokens of a linear map in patches of patch x patch tokens: those of a convolution are the
/// positions of its window, others have the rows and columns of `grid` or, if it is empty, those
/// that the model states. Throws Error, naming the layer, if there are none, or if they are not the
/// tokens that came.
PatchGrid patch_grid(const LinearCall& call, const std::string& grid, std::int64_t patch);
PatchGrid patch_grid(const LinearShape& layer, const std::string& grid, std::int64_t patch);

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
