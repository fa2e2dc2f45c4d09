#pragma once

#include <functional>
#include <string>
#include <vector>

#include "nn/linear_map.h"
#include "tensor/kernels/common_scale.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// What compression does to the gradients of a model, measured on its own batches. `run` executes
// one forward and backward of the caller; parameter gradients are left empty.

/// One call of a layer with exact gradients: the rule that the layer has otherwise, what backward
/// is given, and what it makes.
struct ExactBackward {
    LinearMap& layer;
    const BackwardRule& own;
    const LinearGradient& gy;
    const Saved& saved;  // "x" as the layer has it, where W trains
    const LinearCall& call;
    const LinearGrads& grads;
};
/// Runs with exact rules and shows every call of every linear map.
void watch_exact_backward(Module& model, const std::function<void()>& run,
                          const std::function<void(const ExactBackward&)>& see);

/// What `rule` would have kept of the same x, and made of the same g_y, in a call like it. What it
/// keeps as an activation `codec` packs, if there is one.
LinearGrads made_by(const BackwardRule& rule, const ExactBackward& exact, const LinearCall& call,
                    const Codec* codec = nullptr);

/// Runs with exact rules and shows the g_y: (B, L, Cy) and W: (Cy, Cx) of every linear map that
/// makes g_x.
using SeeGradient = std::function<void(LinearMap& layer, const Tensor& gy, const Tensor& w)>;
void observe_gradients(Module& model, const std::function<void()>& run, const SeeGradient& see);

/// How far an approximate gradient lies from the exact one, over all pairs that were added, of
/// whatever scale.
class GradientError {
  public:
    void add(const Tensor& approximate, const Tensor& exact);
    void add(const GradientError& other);
    bool empty() const { return count_ == 0; }
    /// ‖ĝ − g‖ / ‖g‖; NaN if nothing was added, or only zeros.
    double relative() const;
    /// ⟨ĝ, g⟩ / (‖ĝ‖ ‖g‖).
    double cosine() const;

  private:
    void multiply(int exponent);

    CommonScale scale_;
    double difference_ = 0, approximate_ = 0, exact_ = 0, product_ = 0;  // sums over elements
    std::int64_t count_ = 0;
};

struct LayerError {
    std::string name;
    GradientError gx, gw;
};

/// Each layer alone: its rule is given the exact g_y, and the exact g_x is passed on.
std::vector<LayerError> local_errors(Module& model, const std::function<void()>& run);

/// Through depth: the backward of the whole model under its rules, against the exact one of the
/// same batch. `run` is called twice and must do the same thing each time.
std::vector<LayerError> accumulated_errors(Module& model, const std::function<void()>& run);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
