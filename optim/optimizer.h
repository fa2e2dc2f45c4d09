#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Updates parameters from their gradients. Semantics as in PyTorch; parameters that are frozen or
/// have no gradient are left alone. FLOPs are counted under the phase `optimizer`, state in the
/// ledger's category `optimizer`.
class Optimizer {
  public:
    explicit Optimizer(Module& model, double lr);
    virtual ~Optimizer() = default;

    /// The name, as on the command line: "sgd", "adam", "adamw".
    virtual std::string name() const = 0;
    /// One update with the gradients that backward has left in the parameters.
    virtual void step() = 0;

    double lr() const { return lr_; }
    /// Throws Error for a negative rate and for NaN.
    void set_lr(double lr);

    /// Presents the state for checkpoints, in a fixed order: tensors by "exp_avg.<parameter>", ...,
    /// made if they do not exist yet, and the count of steps.
    virtual void visit_state(const std::function<void(const std::string& name, Tensor&)>& f) = 0;
    std::int64_t steps() const { return steps_; }
    void set_steps(std::int64_t steps) { steps_ = steps; }

  protected:
    struct Entry {
        std::string name;
        Parameter* parameter;
    };
    /// A parameter that is frozen or has no gradient is left alone.
    static bool is_updated(const Parameter& parameter) {
        return parameter.requires_grad && parameter.grad.defined();
    }
    /// Throws Error unless the gradients fit their parameters: asked before the first update.
    void check_gradients() const;

    std::vector<Entry> entries_;
    double lr_;
    std::int64_t steps_ = 0;
};

struct OptimizerOptions {
    std::string name = "adamw";
    double lr = 1e-3;
    double momentum = 0;      // sgd
    bool nesterov = false;    // sgd
    double beta1 = 0.9;       // adam, adamw
    double beta2 = 0.999;     // adam, adamw
    double epsilon = 1e-8;    // adam, adamw
    double weight_decay = 0;  // L2 in sgd and adam, decoupled in adamw
    /// False spares parameters of one axis, biases and those of normalisation, as is customary for
    /// transformers.
    bool decay_vectors = true;

    double decay_of(const Parameter& parameter) const {
        return decay_vectors || parameter.value.ndim() > 1 ? weight_decay : 0;
    }
};

/// The optimisers that make_optimizer knows.
std::vector<std::string> optimizer_names();
/// Throws Error for an unknown name (it lists the known ones) or a value out of range.
std::unique_ptr<Optimizer> make_optimizer(Module& model, const OptimizerOptions& options);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
