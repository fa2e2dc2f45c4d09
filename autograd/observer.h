#pragma once

#include <string>
#include <vector>

#include "autograd/function.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A call that has run backward.
struct Differentiated {
    const Function& function;
    const Tensor& gy;
    const Saved& saved;
    const std::vector<Grad>& grads;          // of the inputs
    const std::vector<bool>& of_parameters;  // which of these are parameters
};

/// Watches the calls of a tape as they are executed, to measure or to draw them. It changes
/// nothing; what is not overridden sees nothing.
class TapeObserver {
  public:
    enum class Pass { forward, backward };

    virtual ~TapeObserver() = default;
    /// A call begins, or has ended; what it saved lives until its backward has.
    virtual void begin(const std::string& /*name*/, Pass /*pass*/) {}
    virtual void end(const std::string& /*name*/, Pass /*pass*/) {}
    /// A call keeps a payload for backward. Equal payloads are one, kept by several.
    virtual void kept(const KeptAs& /*as*/, const Packed& /*payload*/) {}
    /// Before the gradients go on to what the inputs were made of.
    virtual void differentiated(const Differentiated& /*call*/) {}
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
