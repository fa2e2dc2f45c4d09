#pragma once

#include "optim/optimizer.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019). In Adam weight decay is part
/// of the gradient and passes through the moments; in AdamW it is decoupled and shrinks the weights
/// beside them.
class Adam final : public Optimizer {
  public:
    Adam(Module& model, const OptimizerOptions& options, bool decoupled);
    std::string name() const override { return decoupled_ ? "adamw" : "adam"; }
    void step() override;

  private:
    /// What a step multiplies by, each rounded once.
    struct Factors {
        real beta1, rest1, beta2, rest2, scale, epsilon;
        double rate;
    };
    Factors factors() const;
    void update_dense(const Entry& entry, const Factors& f) const;
    void update_compressed(const Entry& entry, const Factors& f) const;

    OptimizerOptions options_;
    bool decoupled_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
