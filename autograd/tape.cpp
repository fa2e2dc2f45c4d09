#include "autograd/tape.h"

#include "tensor/blas.h"
#include "tensor/meter.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
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

/// The dense gradient of a value, which has its shape.
Tensor dense(const Grad& grad, const std::string& where, const Shape& shape) {
    Tensor value = grad.dense();
    require(value.defined() && value.shape() == shape,
            "[{}] expected a gradient of shape {} from its basis, got {}", where, shown(shape),
            shown(value));
    return value;
}

}  // namespace

bool Var::requires_grad() const { return tape_ && tape().entries_.at(id_).requires_grad; }

bool Var::is_parameter() const { return tape_ && tape().entries_.at(id_).parameter != nullptr; }

Tape::Tape(TapeOptions options) : options_(std::move(options)) { adopt_threads(); }

Var Tape::make(Tensor value, bool requires_grad) {
    value.require_defined("tape");
    entries_.push_back({value.shape(), requires_grad && options_.recording});
    return {this, alive_, entries_.size() - 1, std::move(value)};
}

Var Tape::constant(Tensor value) { return make(std::move(value), false); }

Var Tape::input(Tensor value) {
    Var var = make(std::move(value), true);
    entries_.back().is_input = true;
    return var;
}

Var Tape::parameter(Parameter& parameter) {
    Var var = make(parameter.value, parameter.requires_grad);
    entries_.back().parameter = &parameter;
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
    auto saved = std::make_unique<Saved>(std::move(needs), options_.codec.get(), &cache_,
                                         options_.check_saved);

    const LayerScope layer(name);
    const PhaseScope phase("forward");
    const std::int64_t events = meter().events();
    const Untouched untouched(options_.check_saved, values);
    Tensor output = function->forward(values, *saved);
    untouched.verify(name, "forward must not change its inputs, but changed input");
    require(output.defined(), "[{}] forward gave no value", name);
    require(meter().events() > events,
            "[{}] forward counted no FLOPs. Hint: call meter().add(), with 0 if there are none",
            name);

    Var result = make(std::move(output), recorded);
    if (recorded)
        records_.push_back({std::move(function), std::move(saved), std::move(ids), result.id_});
    return result;
}

/// What the function gives for its inputs, each entry of the input's shape where it is needed.
std::vector<Grad> Tape::run_backward(const std::string& name, const Record& record,
                                     const Tensor& gy) const {
    const std::int64_t events = meter().events();
    const Untouched untouched(options_.check_saved, {&gy, 1});
    std::vector<Grad> grads = record.function->backward(gy, *record.saved);
    untouched.verify(name, "backward must not change the gradient of output");
    require(meter().events() > events,
            "[{}] backward counted no FLOPs. Hint: call meter().add(), with 0 if there are none",
            name);
    require(grads.size() == record.inputs.size(),
            "[{}] backward must give one gradient for each of its {} inputs, got {}", name,
            record.inputs.size(), grads.size());
    for (std::size_t i = 0; i < grads.size(); ++i) {
        if (!record.saved->needs(i)) continue;
        const Shape& expected = entries_[record.inputs[i]].shape;
        require(grads[i].defined(), "[{}] backward gave no gradient for input {}, which needs one",
                name, i);
        require(grads[i].basis || grads[i].value.shape() == expected,
                "[{}] backward gave a gradient of shape {} for input {} of shape {}", name,
                shown(grads[i].value.shape()), i, shown(expected));
    }
    return grads;
}

/// Adds to the gradient of a value: a parameter's own, or the one that waits for its function.
void Tape::deposit(const std::string& where, std::size_t id, Grad grad,
                   std::vector<Grad>& pending) {
    Parameter* const parameter = entries_[id].parameter;
    if (!parameter) return pending[id].add(std::move(grad));
    require(parameter->value.defined() && parameter->value.shape() == entries_[id].shape,
            "[{}] a parameter of shape {} in forward has the shape {} in backward", where,
            shown(entries_[id].shape), shown(parameter->value.shape()));
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
    consumed_ = true;

    std::vector<Grad> pending(entries_.size());
    deposit("backward", y.id_, std::move(gy), pending);
    for (; !records_.empty(); records_.pop_back()) {
        const Record& record = records_.back();
        const Grad upstream = std::exchange(pending[record.output], {});
        if (!upstream.defined()) continue;  // y does not depend on this call

        const std::string name = record.function->name();
        const LayerScope layer(name);
        const PhaseScope phase("backward");
        std::vector<Grad> grads =
            run_backward(name, record, dense(upstream, name, entries_[record.output].shape));
        for (std::size_t i = 0; i < grads.size(); ++i)
            if (record.saved->needs(i))
                deposit(name, record.inputs[i], std::move(grads[i]), pending);
    }

    gradients_.resize(pending.size());
    for (std::size_t id = 0; id < pending.size(); ++id)
        if (entries_[id].is_input && pending[id].defined())
            gradients_[id] = dense(pending[id], "backward", entries_[id].shape);
}

Tensor Tape::gradient(const Var& input) const {
    require(owns(input) && entries_.at(input.id_).is_input,
            "[gradient] the value is not an input of this tape");
    require(consumed_, "[gradient] backward has not run yet");
    require(input.id_ < gradients_.size(), "[gradient] this input was made after backward");
    const Tensor& grad = gradients_[input.id_];
    return grad.defined() ? grad : Tensor::zeros(input.shape());
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
