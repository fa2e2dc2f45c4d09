#pragma once

#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Batch normalisation of each channel c: y = γ_c (x − μ_c) / √(v_c + ε) + β_c. In training μ and v
/// are the mean and the biased variance of the batch, and the running statistics move towards them
/// (with the unbiased variance) if the tape updates statistics; in evaluation they are the running
/// statistics. Semantics and names as in PyTorch (which also counts batches; nothing here needs
/// that count). Ioffe and Szegedy, "Batch normalization" (2015).
class BatchNorm : public Module {
  public:
    /// Throws Error, in training, if there is only one value for each channel.
    Var forward(const Var& x) override { return apply(x, nullptr, Rectifier::none); }
    /// relu(forward(x) + residual), with or without a residual of the shape of x, in one pass over
    /// memory: what goes on between the convolutions of a residual network. Keeps one bit an
    /// element, filled up to whole bytes for each plane of x, beside what forward keeps.
    Var forward_relu(const Var& x) { return apply(x, nullptr, Rectifier::relu); }
    Var forward_relu(const Var& x, const Var& residual) {
        return apply(x, &residual, Rectifier::relu);
    }
    /// The same with min(·, 6), as MobileNets have it.
    Var forward_relu6(const Var& x) { return apply(x, nullptr, Rectifier::relu6); }
    void visit(Visitor& visitor) override;

    /// Frozen, training uses the running statistics too, and leaves them as they are: small batches
    /// of a fine-tuning are a poor estimate of what the weights were trained with.
    void set_frozen(bool frozen) { frozen_ = frozen; }
    bool frozen() const { return frozen_; }
    double epsilon() const { return epsilon_; }
    double momentum() const { return momentum_; }
    const Parameter& weight() const { return weight_; }
    Parameter& weight() { return weight_; }
    Parameter& bias() { return bias_; }
    Tensor& running_mean() { return running_mean_; }
    Tensor& running_var() { return running_var_; }

  protected:
    BatchNorm(std::int64_t channels, double epsilon, double momentum);
    /// The shapes that a layer takes, for its error message.
    virtual bool accepts(std::int64_t ndim) const = 0;
    virtual std::string expected() const = 0;
    std::int64_t channels() const { return weight_.value.numel(); }

  private:
    enum class Rectifier { none, relu, relu6 };
    Var apply(const Var& x, const Var* residual, Rectifier rectifier);

    Parameter weight_, bias_;
    Tensor running_mean_, running_var_;
    double epsilon_, momentum_;
    bool frozen_ = false;
};

/// x: (B, C) or (B, C, L).
class BatchNorm1d final : public BatchNorm {
  public:
    explicit BatchNorm1d(std::int64_t channels, double epsilon = 1e-5, double momentum = 0.1)
        : BatchNorm(channels, epsilon, momentum) {}
    std::string kind() const override { return "batch_norm1d"; }

  private:
    bool accepts(std::int64_t ndim) const override { return ndim == 2 || ndim == 3; }
    std::string expected() const override;
};

/// x: (B, C, H, W).
class BatchNorm2d final : public BatchNorm {
  public:
    explicit BatchNorm2d(std::int64_t channels, double epsilon = 1e-5, double momentum = 0.1)
        : BatchNorm(channels, epsilon, momentum) {}
    std::string kind() const override { return "batch_norm2d"; }

  private:
    bool accepts(std::int64_t ndim) const override { return ndim == 4; }
    std::string expected() const override;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
