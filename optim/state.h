#pragma once

#include <optional>
#include <string>
#include <vector>

#include "autograd/function.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A running value that an optimiser keeps of each parameter: of the gradient (power 1) or of its
/// square (power 2).
struct StateSlot {
    const char* name;
    int power;
};

/// Where a part of the state lives, if it is no dense one: what a new optimiser must be told before
/// it can take over the values. `name` is "moments.<parameter>", or that of a projection's basis.
struct StateSpace {
    std::string name;
    Shape shape;
    std::int64_t period = 0;
};

/// The running values of one parameter, in the space of its gradient: of the shape of `grad.value`.
/// PyTorch starts momentum with the first gradient, which is the same as starting from the zeros
/// here.
class ParameterState {
  public:
    /// Undefined where no step and no visit has made them.
    std::vector<Tensor> values;
    /// Of the basis that they are expressed on; none: they are dense.
    std::optional<std::int64_t> period{};

    explicit ParameterState(std::size_t slots) : values(slots) {}

    /// Throws Error, in the name of the parameter, unless the state fits the gradient. Where it
    /// does, nothing but its basis may have changed. A dense state of zeros fits anything.
    void check(const Parameter& parameter, const std::string& name) const;
    /// Makes what is missing, and carries over what is of the basis of another period.
    void follow(const Grad& gradient, const std::vector<StateSlot>& slots);
    /// Makes what is missing, of this shape.
    void make(const Shape& shape);
    /// Throws Error unless a dense state has the shape of its parameter.
    void check_dense(const Parameter& parameter, const std::string& name) const;

  private:
    bool exists() const { return !values.empty() && values.front().defined(); }
    bool is_zero() const;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
