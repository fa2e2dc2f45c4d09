#pragma once

#include "optim/optimizer.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

/// Adam (Kingma and Ba, 2015) with L2 weight decay: the decay is part of the gradient and passes
/// through the moments.
class Adam final : public Optimizer {
  public:
    Adam(Module& model, const OptimizerOptions& options);
    std::string name() const override { return "adam"; }
    void step() override;
    void visit_state(const std::function<void(const std::string&, Tensor&)>& f) override;

  private:
    OptimizerOptions options_;
    std::vector<Tensor> exp_avg_, exp_avg_sq_;  // one a parameter
};

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
