#pragma once

#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// y = x σ(x) with σ(x) = 1 / (1 + e^-x), any shape. Keeps x.
class SiLU final : public Module {
  public:
    Var forward(const Var& x) override;
    void visit(Visitor&) override {}
    std::string kind() const override { return "silu"; }
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
