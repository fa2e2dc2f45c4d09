#pragma once

#include "optim/optimizer.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019): the decay shrinks the weights
/// and never enters the moments.
class AdamW final : public Optimizer {
  public:
    AdamW(Module& model, const OptimizerOptions& options);
    std::string name() const override { return "adamw"; }
    void step() override;
    void visit_state(const std::function<void(const std::string&, Tensor&)>& f) override;

  private:
    OptimizerOptions options_;
    std::vector<Tensor> exp_avg_, exp_avg_sq_;  // one a parameter
};

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
