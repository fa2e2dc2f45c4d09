#include "autograd/tape.h"

#include "tensor/blas.h"
#include "tensor/meter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// Remembers what some tensors hold while a function runs that must not change them.
class Untouched {
  public:
    Untouched(bool check, std::span<const Tensor> tensors) : tensors_(tensors) {
        if (!check) return;
        for (const Tensor& tensor : tensors) stamps_.emplace_back(*tensor.storage(), true);
    }
    void verify(const std::string& function, const char* what) const {
        for (std::size_t i = 0; i < stamps_.size(); ++i)
            require(stamps_[i].holds(*tensors_[i].storage()), "[{}] {} {}", function, what, i);
    }

  private:
    std::span<const Tensor> tensors_;
    std::vector<Stamp> stamps_;
};

/// Tells an observer, if there is one, of a call.
class Observed {
  public:
    using Pass = TapeObserver::Pass;
    Observed(TapeObserver* observer, const std::string& name, Pass pass)
        : observer_(observer), name_(name), pass_(pass) {
        if (observer_) observer_->begin(name_, pass_);
    }
    void ended() const {
        if (observer_) observer_->end(name_, pass_);
    }

  private:
    TapeObserver* observer_;
    const std::string& name_;
    Pass pass_;
};

/// The dense gradient of a value, which has its shape.
Tensor dense(const Grad& grad, const std::string& where, const Shape& shape) {
    Tensor value = grad.dense();
    require(value.defined() && value.shape() == shape,
            "[{}] expected a gradient of shape {} from its basis, got {}", where, shown(shape),
            shown(value));
    return value;
}

}  // namespace

bool Var::requires_grad() const { return tape_ && tape().nodes_.at(id_).requires_grad; }

bool Var::is_parameter() const { return tape_ && tape().nodes_.at(id_).parameter != nullptr; }

Tape::Tape(TapeOptions options) : options_(std::move(options)) {
    require(options_.training || (!options_.codec && options_.derivative_bits == 0),
            "[tape] evaluation is exact: a codec and derivatives in few bits are for training");
    adopt_threads();
}

Var Tape::make(Tensor value, bool requires_grad) {
    value.require_defined("tape");
    Node& node = nodes_.emplace_back();
    node.shape = value.shape();
    node.requires_grad = requires_grad && options_.recording;
    return {this, alive_, nodes_.size() - 1, std::move(value)};
}

Var Tape::constant(Tensor value) { return make(std::move(value), false); }

Var Tape::input(Tensor value) {
    Var var = make(std::move(value), true);
    nodes_.back().is_input = true;
    return var;
}

Var Tape::parameter(Parameter& parameter) {
    Var var = make(parameter.value, parameter.requires_grad);
    nodes_.back().parameter = &parameter;
    return var;
}

Var Tape::apply(std::shared_ptr<const Function> function, const std::vector<Var>& inputs) {
    require(function != nullptr, "[apply] expected a function, got none");
    const std::string name = function->name();
    std::vector<Tensor> values;
    std::vector<bool> needs;
    std::vector<std::size_t> ids;
    bool recorded = false;
    for (const Var& input : inputs) {
        require(input.tape_ == this, "[{}] an input belongs to another tape", name);
        values.push_back(input.value());
        needs.push_back(input.requires_grad());
        ids.push_back(input.id_);
        recorded = recorded || needs.back();
    }
    auto saved = std::make_unique<Saved>(std::move(needs),
                                         SavedOptions{.codec = options_.codec.get(),
                                                      .cache = &cache_,
                                                      .check = options_.check_saved,
                                                      .as = {.layer = name,
                                                             .seed = options_.seed,
                                                             .step = options_.step,
                                                             .first_sample = options_.first_sample},
                                                      .observer = options_.observer});

    const LayerScope layer(name);
    const PhaseScope phase("forward");
    const Observed observed(options_.observer, name, TapeObserver::Pass::forward);
    const std::int64_t events = meter().events();
    const Untouched untouched(options_.check_saved, values);
    Tensor output = function->forward(values, *saved);
    untouched.verify(name, "forward must not change its inputs, but changed input");
    require(output.defined(), "[{}] forward gave no value", name);
    require(meter().events() > events,
            "[{}] forward counted no FLOPs. Hint: call meter().add(), with 0 if there are none",
            name);

    Var result = make(std::move(output), recorded);
    observed.ended();
    if (recorded) {
        Node& node = nodes_.back();
        node.function = std::move(function);
        node.saved = std::move(saved);
        node.inputs = std::move(ids);
        ++calls_;
    }
    return result;
}

/// What the function gives for its inputs, each entry of the input's shape where it is needed.
std::vector<Grad> Tape::run_backward(const std::string& name, const Node& node,
                                     const Tensor& gy) const {
    const std::int64_t events = meter().events();
    const Untouched untouched(options_.check_saved, {&gy, 1});
    std::vector<Grad> grads = node.function->backward(gy, *node.saved);
    untouched.verify(name, "backward must not change the gradient of output");
    require(meter().events() > events,
            "[{}] backward counted no FLOPs. Hint: call meter().add(), with 0 if there are none",
            name);
    require(grads.size() == node.inputs.size(),
            "[{}] backward must give one gradient for each of its {} inputs, got {}", name,
            node.inputs.size(), grads.size());
    for (std::size_t i = 0; i < grads.size(); ++i) {
        if (!node.saved->needs(i)) continue;
        const Shape& expected = nodes_[node.inputs[i]].shape;
        require(grads[i].defined(), "[{}] backward gave no gradient for input {}, which needs one",
                name, i);
        require(grads[i].basis || grads[i].value.shape() == expected,
                "[{}] backward gave a gradient of shape {} for input {} of shape {}", name,
                shown(grads[i].value.shape()), i, shown(expected));
    }
    return grads;
}

/// Adds to the gradient of a value: a parameter's own, or the one that waits for its function.
void Tape::deposit(const std::string& where, Node& node, Grad grad) {
    Parameter* const parameter = node.parameter;
    if (!parameter) return node.gradient.add(std::move(grad));
    require(parameter->value.defined() && parameter->value.shape() == node.shape,
            "[{}] a parameter of shape {} in forward has the shape {} in backward", where,
            shown(node.shape), shown(parameter->value.shape()));
    // A parameter owns its gradient: two inputs of one sum would otherwise share theirs.
    if (!grad.value.unique()) grad.value = grad.value.clone();
    parameter->grad.add(std::move(grad));
    parameter->grad.value.mark(Category::gradients);
}

void Tape::backward(const Var& y, Tensor gy) {
    require(y.tape_ == this, "[backward] the value belongs to another tape");
    require(!consumed_, "[backward] this tape has already run backward");
    require(y.requires_grad(), "[backward] nothing that the value depends on needs a gradient");
    if (!gy.defined()) {
        require(y.value().numel() == 1,
                "[backward] a value of shape {} needs an explicit output gradient",
                shown(y.shape()));
        gy = Tensor::full(y.shape(), 1);
    }
    require(gy.shape() == y.shape(), "[backward] expected a gradient of shape {}, got {}",
            shown(y.shape()), shown(gy.shape()));
    consumed_ = nodes_.size();

    deposit("backward", nodes_[y.id_], std::move(gy));
    for (std::size_t id = *consumed_; id-- > 0;) {
        if (!nodes_[id].function) continue;
        // What the call has saved is freed at the end of this turn.
        const Node call = std::exchange(nodes_[id], {nodes_[id].shape, true});
        --calls_;
        if (!call.gradient.defined()) continue;  // y does not depend on this call

        const std::string name = call.function->name();
        const LayerScope layer(name);
        const PhaseScope phase("backward");
        const Observed observed(options_.observer, name, TapeObserver::Pass::backward);
        const Tensor g = dense(call.gradient, name, call.shape);
        std::vector<Grad> grads = run_backward(name, call, g);
        if (options_.observer) {
            std::vector<bool> of_parameters;
            for (const std::size_t input : call.inputs)
                of_parameters.push_back(nodes_[input].parameter != nullptr);
            options_.observer->differentiated(
                {*call.function, g, *call.saved, grads, of_parameters});
        }
        for (std::size_t i = 0; i < grads.size(); ++i)
            if (call.saved->needs(i)) deposit(name, nodes_[call.inputs[i]], std::move(grads[i]));
        observed.ended();
    }

    for (Node& node : nodes_)
        if (node.is_input && node.gradient.defined())
            node.gradient = dense(node.gradient, "backward", node.shape);
}

Tensor Tape::gradient(const Var& input) const {
    require(owns(input) && nodes_.at(input.id_).is_input,
            "[gradient] the value is not an input of this tape");
    require(consumed_.has_value(), "[gradient] backward has not run yet");
    require(input.id_ < *consumed_, "[gradient] this input was made after backward");
    const Tensor& grad = nodes_[input.id_].gradient.value;
    return grad.defined() ? grad : Tensor::zeros(input.shape());
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
