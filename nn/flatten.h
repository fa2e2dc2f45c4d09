#pragma once

#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// (B, ...) -> (B, C): all axes but the first as one. Throws Error for a scalar.
class Flatten final : public Module {
  public:
    Var forward(const Var& x) override;
    void visit(Visitor&) override {}
    std::string kind() const override { return "flatten"; }
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
