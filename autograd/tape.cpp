#include "autograd/tape.h"

#include "tensor/blas.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/meter.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

namespace {

/// Nobody else can see the values of x: they may be overwritten.
bool is_sole_owner(const Tensor& x) {
    return x.storage().use_count() == 1 && !x.storage()->borrowed();
}

/// a + b, in the buffer of one of them if nobody else sees it.
Tensor sum(Tensor a, Tensor b) {
    require(a.shape() == b.shape(), "[tape] gradients of shapes {} and {} do not add up",
            to_string(a.shape()), to_string(b.shape()));
    if (!is_sole_owner(a)) std::swap(a, b);
    if (!is_sole_owner(a)) return map(a, b, 1, [](real x, real y) { return x + y; });
    add_in_place(a, b);
    return a;
}

}  // namespace

void Grad::add(Grad other) {
    if (!defined()) {
        *this = std::move(other);
    } else if (basis == other.basis) {
        value = sum(std::move(value), std::move(other.value));
    } else {
        value = sum(dense(), other.dense());
        basis = nullptr;
    }
}

bool Var::requires_grad() const { return tape_ && tape().requires_grad_.at(id_); }

bool Var::is_parameter() const { return tape_ && tape().parameters_.at(id_) != nullptr; }

Tape::Tape(TapeOptions options) : options_(std::move(options)) { adopt_threads(); }

Var Tape::make(Tensor value, bool requires_grad) {
    requires_grad_.push_back(requires_grad && options_.recording);
    parameters_.push_back(nullptr);
    is_input_.push_back(false);
    return {this, alive_, requires_grad_.size() - 1, std::move(value)};
}

Var Tape::constant(Tensor value) { return make(std::move(value), false); }

Var Tape::input(Tensor value) {
    Var var = make(std::move(value), true);
    is_input_.back() = true;
    return var;
}

Var Tape::parameter(Parameter& parameter) {
    Var var = make(parameter.value, parameter.requires_grad);
    parameters_.back() = &parameter;
    return var;
}

Var Tape::apply(std::shared_ptr<const Function> function, const std::vector<Var>& inputs) {
    std::vector<Tensor> values;
    std::vector<bool> needs;
    std::vector<std::size_t> ids;
    bool recorded = false;
    for (const Var& input : inputs) {
        require(input.tape_ == this, "[{}] an input belongs to another tape", function->name());
        values.push_back(input.value());
        needs.push_back(input.requires_grad());
        ids.push_back(input.id_);
        recorded = recorded || needs.back();
    }
    auto saved = std::make_unique<Saved>(std::move(needs), options_.codec.get(), &cache_);

    const LayerScope layer(function->name());
    const PhaseScope phase("forward");
    const std::int64_t events = meter().events();
    Tensor output = function->forward(values, *saved);
    require(meter().events() > events,
            "[{}] forward counted no FLOPs. Hint: call meter().add(), with 0 if there are none",
            function->name());

    Var result = make(std::move(output), recorded);
    if (recorded)
        records_.push_back({std::move(function), std::move(saved), std::move(ids), result.id_});
    return result;
}

void Tape::backward(const Var& y, Tensor gy) {
    require(y.tape_ == this, "[backward] the value belongs to another tape");
    require(!consumed_, "[backward] this tape has already run backward");
    require(y.requires_grad(), "[backward] nothing that the value depends on needs a gradient");
    if (!gy.defined()) {
        require(y.value().numel() == 1,
                "[backward] a value of shape {} needs an explicit output gradient",
                to_string(y.shape()));
        gy = Tensor::full(y.shape(), 1);
    }
    require(gy.shape() == y.shape(), "[backward] expected a gradient of shape {}, got {}",
            to_string(y.shape()), to_string(gy.shape()));
    consumed_ = true;

    std::vector<Grad> pending(requires_grad_.size());
    const auto deposit = [&](std::size_t id, Grad grad) {
        if (Parameter* parameter = parameters_[id]) {
            // A parameter owns its gradient: two inputs of one sum would otherwise share theirs.
            if (grad.value.storage().use_count() > 1) grad.value = grad.value.clone();
            parameter->grad.add(std::move(grad));
            parameter->grad.value.mark(Category::gradients);
        } else {
            pending[id].add(std::move(grad));
        }
    };
    deposit(y.id_, std::move(gy));

    for (; !records_.empty(); records_.pop_back()) {
        Record& record = records_.back();
        const Grad upstream = std::exchange(pending[record.output], {});
        if (!upstream.defined()) continue;  // y does not depend on this call

        const LayerScope layer(record.function->name());
        const PhaseScope phase("backward");
        const std::int64_t events = meter().events();
        std::vector<Grad> grads = record.function->backward(upstream.dense(), *record.saved);
        require(
            meter().events() > events,
            "[{}] backward counted no FLOPs. Hint: call meter().add(), with 0 if there are none",
            record.function->name());
        require(grads.size() == record.inputs.size(),
                "[{}] backward must give one gradient for each of its {} inputs, got {}",
                record.function->name(), record.inputs.size(), grads.size());
        for (std::size_t i = 0; i < grads.size(); ++i)
            if (record.saved->needs(i) && grads[i].defined())
                deposit(record.inputs[i], std::move(grads[i]));
    }

    gradients_.resize(pending.size());
    for (std::size_t id = 0; id < pending.size(); ++id)
        if (is_input_[id] && pending[id].defined()) gradients_[id] = pending[id].dense();
}

Tensor Tape::gradient(const Var& input) const {
    require(input.tape_ == this && is_input_.at(input.id_),
            "[gradient] the value is not an input of this tape");
    require(consumed_, "[gradient] backward has not run yet");
    const Tensor& grad = gradients_.at(input.id_);
    return grad.defined() ? grad : Tensor::zeros(input.shape());
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
