#include "nn/sequential.h"

#include "autograd/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

void Sequential::append(std::unique_ptr<Module> module) {
    require(module != nullptr, "[sequential] expected a module, got none");
    modules_.push_back(std::move(module));
}

Module& Sequential::operator[](std::size_t i) {
    require(i < modules_.size(), "[{}] module {} does not exist; there are {}", path(), i,
            modules_.size());
    return *modules_[i];
}

Var Sequential::forward(const Var& x) {
    Var y = x;
    for (const auto& module : modules_) y = module->forward(y);
    return y;
}

void Sequential::visit(Visitor& visitor) {
    for (std::size_t i = 0; i < modules_.size(); ++i)
        visitor.module(std::to_string(i), *modules_[i]);
}

Residual::Residual(std::unique_ptr<Module> branch) : branch_(std::move(branch)) {
    require(branch_ != nullptr, "[residual] expected a branch, got none");
}

Var Residual::forward(const Var& x) {
    const Var y = branch_->forward(x);
    require(y.shape() == x.shape(), "[{}] the branch must keep the shape {}, got {}", path(),
            shown(x.shape()), shown(y.shape()));
    return x + y;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
