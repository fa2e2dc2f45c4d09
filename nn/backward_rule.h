#pragma once

#include <memory>
#include <string>

#include "autograd/tape.h"
#include "nn/linear_operator.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The input of a linear map as a rule sees it. What a rule keeps of an exact x is `held`, never
/// the matrix that a convolution unfolds it to.
class LinearInput {
  public:
    /// `held`: x as the layer has it.
    LinearInput(std::shared_ptr<const LinearOperator> op, Tensor held)
        : op_(std::move(op)), held_(std::move(held)) {}

    const Tensor& held() const { return held_; }
    /// x: (B, L, Cx), unfolded at most once.
    const Tensor& matrix() const {
        if (!matrix_.defined()) matrix_ = op_->x_matrix(held_);
        return matrix_;
    }

  private:
    std::shared_ptr<const LinearOperator> op_;
    Tensor held_;
    mutable Tensor matrix_;
};

/// The gradient of a linear map's output as a rule sees it.
class LinearGradient {
  public:
    LinearGradient(std::shared_ptr<const LinearOperator> op, Tensor value)
        : op_(std::move(op)), value_(std::move(value)) {}

    /// g_y as the layer has it.
    const Tensor& value() const { return value_; }
    /// g_y: (B, L, Cy)
    const Tensor& matrix() const {
        if (!matrix_.defined()) matrix_ = op_->y_matrix(value_);
        return matrix_;
    }

  private:
    std::shared_ptr<const LinearOperator> op_;
    Tensor value_;
    mutable Tensor matrix_;
};

/// Which gradients of a linear map are asked for.
struct Needs {
    bool gx = false;
    bool gw = false;
    bool gb = false;
};

/// What a rule is told of one call of a linear map.
struct LinearCall {
    std::shared_ptr<const LinearOperator> op{};
    Tensor w{};  // (Cy, Cx)
    Needs needs{};
    std::string layer{};            // its path in the model
    std::string input_group{};      // layers that multiply the same x name the same
    TokenLayout layout{};           // of x, as the model states it; see grid()
    std::uint64_t seed = 0;         // of the run
    std::uint64_t step = 0;         // of training
    std::int64_t first_sample = 0;  // of the batch: where a part of it begins

    /// The layout, for a rule that treats tokens as an image. Throws Error, naming the layer, if
    /// the model states no grid, or one of another number of tokens than L.
    const TokenLayout& grid() const;

    /// Random numbers for one sample of this call: a function of what they are for, seed, step,
    /// layer and sample, however a batch is split.
    Stream stream(const std::string& purpose, std::int64_t sample = 0) const;
};

/// g_x as the layer has x or as the matrix (B, L, Cx), and g_w: (Cy, Cx); undefined where not asked
/// for. g_b: (Cy,) is always the sum of g_y over samples and tokens; a rule that reads all of g_y
/// may make it on the way, else the layer does.
struct LinearGrads {
    Tensor gx;
    Grad gw;
    Tensor gb{};
};

/// How a linear map y = x Wᵀ, x: (B, L, Cx), W: (Cy, Cx), is differentiated. A rule owns both what
/// is kept of x in forward (the x slot) and how g_w and g_x are made from it (the g slot); the
/// layer knows nothing else of it. Rules hold no state of an execution and may be shared by layers.
/// A rule may compute on the matrices of x and g_y, or, at less cost for a convolution, by the
/// products of `call.op`.
///
/// FLOPs are counted under the phases `forward` (the product), `compress` (what a rule adds to
/// forward), `g_w` and `g_x`.
class BackwardRule {
  public:
    virtual ~BackwardRule() = default;
    /// The method's name, as on the command line.
    virtual std::string name() const = 0;
    /// False for a call that the rule leaves to the exact one: of too few tokens, say. Asked before
    /// W and `needs` are known.
    virtual bool applies(const LinearCall& /*call*/) const { return true; }
    /// Whether it is also given grouped convolutions, whose operator has the exact products alone.
    virtual bool takes_groups() const { return false; }
    /// y, as the layer has it or as the matrix (B, L, Cy). The default keeps what `save` keeps and
    /// multiplies exactly. Only called while training; evaluation is always exact.
    virtual Tensor forward(const LinearInput& x, Saved& saved, const LinearCall& call) const;
    /// The x slot: keeps what `backward` will need of x.
    virtual void save(const LinearInput& x, Saved& saved, const LinearCall& call) const = 0;
    /// The g slot.
    virtual LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                                 const LinearCall& call) const = 0;
};

// How a layer calls its rule, which may be a user's: what the rule gives is checked before anything
// is done with it. They throw Error that names layer, rule and both shapes.

/// y, as the layer has it, which the caller may overwrite.
Tensor forward_by(const BackwardRule& rule, const Tensor& x, Saved& saved, const LinearCall& call);
/// gx, as the layer has x, and gw: (Cy, Cx) or on a basis, each if it is needed; gb: (Cy,), or
/// undefined if that is not needed.
LinearGrads backward_by(const BackwardRule& rule, const Tensor& gy, const Saved& saved,
                        const LinearCall& call);

/// Vanilla: keeps x itself; g_w = Σ_b g_bᵀ x_b and g_x = g W.
class ExactRule final : public BackwardRule {
  public:
    std::string name() const override { return "vanilla"; }
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override;
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override;

    /// The rule that every linear map starts with.
    static const std::shared_ptr<const BackwardRule>& instance();
};

// The exact products of the matrices, each counted under its own phase.
Tensor linear_forward(const Tensor& x, const Tensor& w);
Tensor linear_gw(const Tensor& gy, const Tensor& x);
Tensor linear_gx(const Tensor& gy, const Tensor& w);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
