#pragma once

#include "nn/linear.h"
#include "nn/window.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The continuous position bias of Swin Transformer V2 (Liu et al. 2022, Sec. 3.3): a small network
/// on the distance of two tokens in a window, with logarithms of both of its parts scaled to about
/// -1 … 1:
///   bias_h(i, j) = 16 σ(W₂ relu(W₁ t_ij + b₁))_h
/// Names are those of its layers in a Sequential: "0.weight", "0.bias", "2.weight".
class PositionBias final : public Module {
  public:
    /// For windows of `side`² tokens. Initialised as PyTorch's Linear.
    PositionBias(std::int64_t heads, std::int64_t side, Stream& stream);
    /// (heads, side², side²).
    Var on(Tape& tape);
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "position_bias"; }

  private:
    std::int64_t side_;
    Parameter w1_, b1_, w2_;  // (512, 2), (512,), (heads, 512)
};

/// Attention inside windows, shifted or not, as Swin Transformer V2 has it: q and k of each head
/// have length 1, their product is scaled by exp(min(logit_scale, ln 100)) of the head, and the
/// bias of their distance is added. q and v have biases of their own. The products with weights see
/// all tokens of a sample at once: cutting into windows is a matter of the attention alone.
class WindowAttention final : public Module {
  public:
    WindowAttention(std::int64_t width, std::int64_t heads, const Windows& windows, Stream& stream);
    /// x: (B, rows · columns, width).
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "window_attention"; }

  private:
    std::int64_t width_, heads_;
    Windows windows_;
    Tensor mask_;
    Parameter logit_scale_;  // (heads, 1, 1)
    Parameter q_bias_, v_bias_;
    PositionBias cpb_mlp_;
    Linear qkv_, proj_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
