#include "optim/optimizer.h"

#include <algorithm>
#include <array>

#include "optim/adam.h"
#include "optim/sgd.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr std::array<const char*, 3> names = {"sgd", "adam", "adamw"};

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

Optimizer::Optimizer(Module& model, double lr) : lr_(lr) {
    for_each_parameter(model, [this](const std::string& name, Parameter& parameter) {
        entries_.push_back({name, &parameter});
    });
}

void Optimizer::set_lr(double lr) {
    require(lr >= 0, "[optimizer] expected lr >= 0, got {}", lr);
    lr_ = lr;
}

void Optimizer::check_gradients() const {
    for (const auto& [name, parameter] : entries_)
        if (is_updated(*parameter) && !parameter->grad.basis) parameter->dense_grad(name);
}

std::vector<std::string> optimizer_names() { return {names.begin(), names.end()}; }

std::unique_ptr<Optimizer> make_optimizer(Module& model, const OptimizerOptions& options) {
    check(options);
    if (options.name == "sgd") return std::make_unique<Sgd>(model, options);
    return std::make_unique<Adam>(model, options, options.name == "adamw");
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
