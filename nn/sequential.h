#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Modules one after the other, named "0", "1", ...
class Sequential final : public Module {
  public:
    Sequential() = default;

    /// Makes a module of type M at the end and returns it.
    template <class M, class... Args>
    M& add(Args&&... args) {
        auto module = std::make_unique<M>(std::forward<Args>(args)...);
        M& result = *module;
        append(std::move(module));
        return result;
    }
    void append(std::unique_ptr<Module> module);
    std::size_t size() const { return modules_.size(); }
    /// Throws Error if there is no such module.
    Module& operator[](std::size_t i);

    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "sequential"; }

  private:
    std::vector<std::unique_ptr<Module>> modules_;
};

/// y = x + f(x), with the branch f as the child "branch".
class Residual final : public Module {
  public:
    explicit Residual(std::unique_ptr<Module> branch);

    /// Throws Error if the branch changes the shape.
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override { visitor.module("branch", *branch_); }
    std::string kind() const override { return "residual"; }

  private:
    std::unique_ptr<Module> branch_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
