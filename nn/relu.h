#pragma once

#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// y = max(x, 0), any shape. Keeps one bit an element.
class ReLU final : public Module {
  public:
    Var forward(const Var& x) override;
    void visit(Visitor&) override {}
    std::string kind() const override { return "relu"; }
};

/// y = min(max(x, 0), 6), any shape. Keeps one bit an element.
class ReLU6 final : public Module {
  public:
    Var forward(const Var& x) override;
    void visit(Visitor&) override {}
    std::string kind() const override { return "relu6"; }
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
