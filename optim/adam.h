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
    void visit_state(const std::function<void(const std::string&, Tensor&)>& f) override;

  private:
    OptimizerOptions options_;
    bool decoupled_;
    std::vector<Tensor> exp_avg_, exp_avg_sq_;  // one a parameter
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
