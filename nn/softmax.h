#pragma once

#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Softmax over the last axis. Keeps its result. Throws Error for a scalar.
class Softmax final : public Module {
  public:
    Var forward(const Var& x) override;
    void visit(Visitor&) override {}
    std::string kind() const override { return "softmax"; }
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
