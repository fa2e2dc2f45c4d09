#pragma once

#include <functional>
#include <string>
#include <vector>

#include "optim/state.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Puts dense gradients on bases between backward and the update (GaLore). An optimiser that has
/// one asks it before each step, and shows its tensors as state of its own.
class GradientProjection {
  public:
    virtual ~GradientProjection() = default;
    /// The gradient to use instead of a parameter's dense one, or that one. `step`: 0, 1, ...
    virtual Grad project(const std::string& name, const Parameter& parameter,
                         std::int64_t step) = 0;

    // Checkpoints, as Optimizer has them.
    virtual void visit_state(const std::function<void(const std::string&, Tensor&)>& f) = 0;
    virtual std::vector<StateSpace> spaces() const = 0;
    /// Throws Error for a space that is none of its own.
    virtual void set_space(const StateSpace& space) = 0;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
