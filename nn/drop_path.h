#pragma once

#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Stochastic depth (Huang et al. 2016): while training, leaves out the branch of a residual block,
/// x (B, ...), for each sample with probability p, and scales that of the others by 1 / (1 - p); in
/// evaluation y = x. Keeps one bit a sample. Draws as Dropout does.
class DropPath final : public Module {
  public:
    /// Throws Error unless 0 <= p < 1.
    explicit DropPath(double p);
    Var forward(const Var& x) override;
    void visit(Visitor&) override {}
    std::string kind() const override { return "drop_path"; }
    double p() const { return p_; }

  private:
    double p_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
