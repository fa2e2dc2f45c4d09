#pragma once

#include "autograd/gradcheck.h"
#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Checks the gradients of a module's input and of all its trainable parameters; see
/// autograd/gradcheck.h for what is compared and what is thrown.
GradcheckReport gradcheck(Module& module, const Tensor& x, const GradcheckOptions& options = {});
/// The same for a module that is not called with one value: `f` calls it.
GradcheckReport gradcheck(Module& module, const TapeFunction& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options = {});

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
