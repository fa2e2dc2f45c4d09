#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nn/module.h"
#include "optim/projection.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Updates parameters from their gradients. Semantics as in PyTorch; parameters that are frozen or
/// have no gradient are left alone. FLOPs are counted under the phase `optimizer`, state in the
/// ledger's category `optimizer`.
///
/// A compressed gradient (Grad::basis) is never expanded: the moments have its shape, and what is
/// expanded is the update, w ← shrink · w - rate · α · expand(u). Weight decay has no place in that
/// space; it always acts beside the update then, shrink = 1 - lr λ, also in sgd and adam.
class Optimizer {
  public:
    /// `slots`: the running values that it keeps of each parameter.
    explicit Optimizer(Module& model, double lr, std::vector<StateSlot> slots = {});
    virtual ~Optimizer() = default;

    /// The name, as on the command line: "sgd", "adam", "adamw".
    virtual std::string name() const = 0;
    /// One update with the gradients that backward has left in the parameters.
    virtual void step() = 0;

    double lr() const { return lr_; }
    /// Throws Error for a negative rate and for NaN.
    void set_lr(double lr);
    /// From now on gradients pass through this before each step; null: they do not.
    void set_projection(std::unique_ptr<GradientProjection> projection);

    /// Presents the state for checkpoints, in a fixed order: tensors by "exp_avg.<parameter>", ...,
    /// made if they do not exist yet, then those of the projection.
    virtual void visit_state(const std::function<void(const std::string& name, Tensor&)>& f);
    /// Where the state is not dense. A new optimizer that is told so presents tensors of these
    /// shapes. Throws Error for what does not belong to this model.
    std::vector<StateSpace> spaces() const;
    void set_spaces(const std::vector<StateSpace>& spaces);
    std::int64_t steps() const { return steps_; }
    void set_steps(std::int64_t steps) { steps_ = steps; }

  protected:
    struct Entry {
        std::string name;
        Parameter* parameter;
        ParameterState state;
    };
    /// A parameter that is frozen or has no gradient is left alone.
    static bool is_updated(const Parameter& parameter) {
        return parameter.requires_grad && parameter.grad.defined();
    }
    /// What comes before the first update: gradients are checked and projected, states checked and
    /// brought to their space, and the step is counted. If it throws Error no value has changed.
    void begin_step();
    /// w ← shrink · w - rate · α · expand(u), for a u in the space of the gradient. 3 FLOPs an
    /// element of w, and what expanding takes.
    static void descend(const Entry& entry, const Tensor& u, double rate, double shrink);

    std::vector<Entry> entries_;
    double lr_;
    std::int64_t steps_ = 0;

  private:
    std::vector<StateSlot> slots_;
    std::unique_ptr<GradientProjection> projection_;
};

struct OptimizerOptions {
    std::string name = "adamw";
    double lr = 1e-3;
    double momentum = 0;      // sgd
    bool nesterov = false;    // sgd
    double beta1 = 0.9;       // adam, adamw
    double beta2 = 0.999;     // adam, adamw
    double epsilon = 1e-8;    // adam, adamw
    double weight_decay = 0;  // L2 in sgd and adam, decoupled in adamw and where g is compressed
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
