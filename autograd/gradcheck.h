#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/tape.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// How gradients are compared with finite differences. The defaults suit the double build; in
/// single precision rounding allows no more than a coarse look.
struct GradcheckOptions {
    double step = sizeof(real) == 8 ? 1e-5 : 1e-2;
    double tolerance = sizeof(real) == 8 ? 1e-6 : 5e-2;
    /// The largest share of elements that may lie at a kink.
    double max_skipped = 0.05;
    /// Elements checked of each tensor, chosen at random; 0 checks all.
    std::int64_t max_elements = 0;
    std::uint64_t seed = 1;
    /// Every evaluation gets a fresh tape with these options, so dropout masks repeat. Running
    /// statistics stay as they are.
    TapeOptions tape{};
};

struct GradcheckReport {
    double max_error = 0;      // the largest relative error
    std::int64_t checked = 0;  // elements compared
    std::int64_t skipped = 0;  // elements at a kink
};

/// A function to check: it puts `inputs` through operations on the tape.
using TapeFunction = std::function<Var(Tape&, const std::vector<Var>&)>;

struct NamedParameter {
    std::string name;
    Parameter* parameter;
};

/// Compares the gradient of every input and every trainable parameter with central differences of a
/// random projection Σ r y of the output. The error of an element is |analytic - numeric| over the
/// larger of the two, where values below a thousandth of the largest gradient count as that much.
/// An element is left out where the one-sided differences stay apart as the step shrinks and the
/// analytic value lies between them: a kink, as ReLU has at 0.
///
/// Throws Error, naming `layer`, the input or parameter, the index and both values, where an error
/// exceeds the tolerance; also if too many elements are at a kink. Gradients of `parameters` are
/// left empty.
GradcheckReport gradcheck(const std::string& layer, const TapeFunction& f,
                          const std::vector<Tensor>& inputs,
                          const std::vector<NamedParameter>& parameters = {},
                          const GradcheckOptions& options = {});

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
