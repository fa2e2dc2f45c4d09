#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "autograd/function.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

/// The input of a linear map: the tensor that the layer was given and, for a convolution, how to
/// unfold it into the matrix that is multiplied. A rule that keeps x keeps `held`, never the
/// unfolded copy.
class LinearInput {
  public:
    using Unfold = std::function<Tensor(const Tensor&)>;

    /// `held` gives x: (B, L, Cx), by `unfold` if there is one.
    explicit LinearInput(Tensor held, Unfold unfold = nullptr);

    const Tensor& held() const { return held_; }
    const Unfold& unfold() const { return unfold_; }
    /// x: (B, L, Cx), unfolded at most once.
    const Tensor& matrix() const { return matrix_; }

  private:
    Tensor held_;
    Unfold unfold_;
    Tensor matrix_;
};

/// Which gradients of a linear map are asked for.
struct Needs {
    bool gx = false;
    bool gw = false;
    bool gb = false;
};

/// g_x: (B, L, Cx) and g_w: (Cy, Cx); undefined where not asked for. g_b: (Cy,) is always
/// sum_tokens(g_y); a rule that reads all of g_y may make it on the way, else the layer does.
struct LinearGrads {
    Tensor gx;
    Grad gw;
    Tensor gb{};
};

/// The subspaces of a rule that projects x onto P and g_y onto Q and does nothing else. P and Q are
/// (R, L) on the token side and (R, channels) on the channel side; an undefined one leaves its slot
/// exact.
struct Subspaces {
    Tensor p, q;
    bool p_on_tokens = true, q_on_tokens = true;
};

/// How a linear map y = x Wᵀ, x: (B, L, Cx), W: (Cy, Cx), is differentiated. A rule owns both what
/// is kept of x in forward (the x slot) and how g_w and g_x are made from it (the g slot); the
/// layer knows nothing else of it. Rules hold no state of an execution and may be shared by layers.
///
/// FLOPs are counted under the phases `forward` (the product), `compress` (what a rule adds to
/// forward), `g_w` and `g_x`.
class BackwardRule {
  public:
    virtual ~BackwardRule() = default;
    /// The method's name, as on the command line.
    virtual std::string name() const = 0;
    /// y: (B, L, Cy). The default keeps what `save` keeps and multiplies exactly. Only called while
    /// training; evaluation is always exact.
    virtual Tensor forward(const LinearInput& x, const Tensor& w, Saved& saved, Needs needs) const;
    /// The x slot: keeps what `backward` will need of x.
    virtual void save(const LinearInput& x, Saved& saved, Needs needs) const = 0;
    /// gy: (B, L, Cy).
    virtual LinearGrads backward(const Tensor& gy, const Tensor& w, const Saved& saved,
                                 Needs needs) const = 0;
    /// Set for a rule that is nothing but its subspaces. A layer that can reach the same products
    /// at less cost, as a convolution can, may then do so instead of calling forward and backward.
    virtual std::optional<Subspaces> subspaces() const { return std::nullopt; }
};

// How a layer calls its rule, which may be a user's: what the rule gives is checked before anything
// is done with it. They throw Error that names layer, rule and both shapes.

/// y: (B, L, Cy), which the caller may overwrite.
Tensor forward_by(const BackwardRule& rule, const std::string& layer, const LinearInput& x,
                  const Tensor& w, Saved& saved, Needs needs);
/// gx: (B, L, Cx), gw: (Cy, Cx) or on a basis, each if it is needed; gb: (Cy,) or undefined.
LinearGrads backward_by(const BackwardRule& rule, const std::string& layer, const Tensor& gy,
                        const Tensor& w, const Saved& saved, Needs needs);

/// Vanilla: keeps x itself; g_w = Σ_b g_bᵀ x_b and g_x = g W.
class ExactRule final : public BackwardRule {
  public:
    std::string name() const override { return "vanilla"; }
    void save(const LinearInput& x, Saved& saved, Needs needs) const override;
    LinearGrads backward(const Tensor& gy, const Tensor& w, const Saved& saved,
                         Needs needs) const override;

    /// The rule that every linear map starts with.
    static const std::shared_ptr<const BackwardRule>& instance();
};

/// The exact products of a linear map, each counted under its own phase.
Tensor linear_forward(const Tensor& x, const Tensor& w);
Tensor linear_gw(const Tensor& gy, const Tensor& x);
Tensor linear_gx(const Tensor& gy, const Tensor& w);

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
