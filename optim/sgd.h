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
    void visit_state(const std::function<void(const std::string&, Tensor&)>& f) override;

  private:
    OptimizerOptions options_;
    std::vector<Tensor> momentum_;  // one a parameter
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
