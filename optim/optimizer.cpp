#include "optim/optimizer.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "optim/adam.h"
#include "optim/sgd.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/option.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr std::array<const char*, 3> names = {"sgd", "adam", "adamw"};
const std::string moments = "moments.";  // of a parameter: how StateSpace names them

void check(const OptimizerOptions& o) {
    require(std::ranges::find(names, o.name) != names.end(),
            "[optimizer] unknown optimizer '{}'. Known: {}", o.name, fmt::join(names, ", "));
    require(o.lr >= 0, "[optimizer] expected lr >= 0, got {}", o.lr);
    require(o.weight_decay >= 0, "[optimizer] expected weight_decay >= 0, got {}", o.weight_decay);
    require(o.momentum >= 0, "[optimizer] expected momentum >= 0, got {}", o.momentum);
    require(!o.nesterov || o.momentum > 0, "[optimizer] nesterov needs a momentum above 0");
    require(o.beta1 >= 0 && o.beta1 < 1, "[optimizer] expected beta1 in [0, 1), got {}", o.beta1);
    require(o.beta2 >= 0 && o.beta2 < 1, "[optimizer] expected beta2 in [0, 1), got {}", o.beta2);
    require(o.epsilon >= 0, "[optimizer] expected epsilon >= 0, got {}", o.epsilon);
}

}  // namespace

Optimizer::Optimizer(Module& model, double lr, std::vector<StateSlot> slots)
    : lr_(lr), slots_(std::move(slots)) {
    for_each_parameter(model, [this](const std::string& name, Parameter& parameter) {
        entries_.push_back({name, &parameter, ParameterState(slots_.size())});
    });
}

void Optimizer::set_lr(double lr) {
    require(lr >= 0, "[optimizer] expected lr >= 0, got {}", lr);
    lr_ = lr;
}

void Optimizer::set_projection(std::unique_ptr<GradientProjection> projection) {
    projection_ = std::move(projection);
}

void Optimizer::begin_step() {
    const auto for_each_updated = [this](auto f) {
        for (Entry& entry : entries_)
            if (is_updated(*entry.parameter)) f(entry.name, *entry.parameter, entry.state);
    };
    for_each_updated([](const std::string& name, const Parameter& parameter, auto&) {
        parameter.check_grad(name);
    });
    if (projection_)
        for_each_updated([this](const std::string& name, Parameter& parameter, auto&) {
            if (parameter.grad.basis) return;
            parameter.grad = projection_->project(name, parameter, steps_);
            parameter.grad.value.mark(Category::gradients);
        });
    for_each_updated([](const std::string& name, const Parameter& parameter,
                        const ParameterState& state) { state.check(parameter, name); });
    for_each_updated([this](auto&, const Parameter& parameter, ParameterState& state) {
        state.follow(parameter.grad, slots_);
    });
    ++steps_;
}

void Optimizer::descend(const Entry& entry, const Tensor& u, double rate, double shrink) {
    Parameter& parameter = *entry.parameter;
    const Tensor update = parameter.grad.basis->expand(u);
    require(update.defined() && update.shape() == parameter.value.shape(),
            "[{}] expected an update of the parameter's shape {}, got {}", entry.name,
            shown(parameter.value.shape()), shown(update));
    const real keep = static_cast<real>(shrink);
    const real step = static_cast<real>(rate * parameter.grad.basis->scale());
    const std::int64_t n = update.numel();
    const real* d = update.data();
    real* w = parameter.value.data();
#pragma omp parallel for simd schedule(static) if (n > parallel_threshold)
    for (std::int64_t k = 0; k < n; ++k) w[k] = keep * w[k] - step * d[k];
    parameter.value.changed();
    meter().add(3 * n);
}

void Optimizer::visit_state(const std::function<void(const std::string&, Tensor&)>& f) {
    for (auto& [name, parameter, state] : entries_) {
        if (!parameter->requires_grad) continue;
        if (!state.period) state.make(parameter->value.shape());
        state.check_dense(*parameter, name);
        for (std::size_t i = 0; i < slots_.size(); ++i)
            f(fmt::format("{}.{}", slots_[i].name, name), state.values[i]);
    }
    if (projection_) projection_->visit_state(f);
}

std::vector<StateSpace> Optimizer::spaces() const {
    std::vector<StateSpace> all;
    for (const Entry& entry : entries_)
        if (entry.state.period && !slots_.empty())
            all.push_back(
                {moments + entry.name, entry.state.values.front().shape(), *entry.state.period});
    if (projection_) std::ranges::copy(projection_->spaces(), std::back_inserter(all));
    return all;
}

void Optimizer::set_spaces(const std::vector<StateSpace>& spaces) {
    for (const StateSpace& space : spaces) {
        const auto entry = std::ranges::find_if(
            entries_, [&](const Entry& e) { return moments + e.name == space.name; });
        if (entry == entries_.end()) {
            require(projection_ != nullptr, "[optimizer] the state has no place for {}",
                    slimgrad::shown(space.name));
            projection_->set_space(space);
            continue;
        }
        const auto& [name, parameter, state] = *entry;
        require(std::ranges::all_of(space.shape, [](std::int64_t length) { return length > 0; }) &&
                    numel(space.shape) <= parameter->value.numel(),
                "[optimizer] '{}' of shape {} has no state of shape {}", name,
                shown(parameter->value.shape()), shown(space.shape));
        entry->state = ParameterState(slots_.size());
        entry->state.make(space.shape);
        entry->state.period = space.period;
    }
}

std::vector<std::string> optimizer_names() { return {names.begin(), names.end()}; }

std::unique_ptr<Optimizer> make_optimizer(Module& model, const OptimizerOptions& options) {
    check(options);
    if (options.name == "sgd") return std::make_unique<Sgd>(model, options);
    return std::make_unique<Adam>(model, options, options.name == "adamw");
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
