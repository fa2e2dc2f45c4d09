#pragma once

#include "optim/optimizer.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Stochastic gradient descent with momentum, Nesterov's form of it, and L2 weight decay.
class Sgd final : public Optimizer {
  public:
    Sgd(Module& model, const OptimizerOptions& options);
    std::string name() const override { return "sgd"; }
    void step() override;

  private:
    void update_dense(const Entry& entry) const;
    void update_compressed(const Entry& entry) const;

    OptimizerOptions options_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
