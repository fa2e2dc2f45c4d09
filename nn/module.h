#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "autograd/tape.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

class Visitor;

/// A part of a model: parameters, buffers and children, and a forward that puts functions on a
/// tape. A module holds no state of an execution, so it may run several times in one graph.
class Module {
  public:
    Module() = default;
    virtual ~Module() = default;
    Module(const Module&) = delete;  // tapes point to parameters
    Module& operator=(const Module&) = delete;

    /// Layers with one input; those with more have a forward of their own and throw here.
    virtual Var forward(const Var& x);
    /// Presents every parameter, buffer and child by its local name, in PyTorch's names and order.
    /// This one method serves optimisers, checkpoints, freezing and the swapping of backward rules.
    virtual void visit(Visitor& visitor) = 0;
    /// The kind of layer, "linear": what errors and unnamed layers are called.
    virtual std::string kind() const = 0;

    /// The full name in the model, "blocks.0.fc1", once name_modules() has run; else the kind.
    std::string path() const { return path_.empty() ? kind() : path_; }

  private:
    friend void name_modules(Module& root);
    std::string path_;
};

/// Walks a model. Derive from it, or use the for_each functions below. What a model shows several
/// times, a shared layer or tied weights, is presented once, under the first of its names.
class Visitor {
  public:
    virtual ~Visitor() = default;
    /// Walks all of `root`, which is not presented itself.
    void walk(Module& root);
    void parameter(const std::string& name, Parameter& parameter);
    void buffer(const std::string& name, Tensor& buffer);
    void module(const std::string& name, Module& module);

  protected:
    virtual void on_parameter(const std::string& /*path*/, Parameter&) {}
    virtual void on_buffer(const std::string& /*path*/, Tensor&) {}
    virtual void on_module(const std::string& /*path*/, Module&) {}

  private:
    std::string join(const std::string& name) const;
    std::string prefix_;
    std::set<const Module*> modules_;
    std::set<const Parameter*> parameters_;
    std::set<const Tensor*> buffers_;
};

void for_each_parameter(Module& root,
                        const std::function<void(const std::string& path, Parameter&)>& f);
/// Buffers are the values that are saved with a model but not trained (running statistics).
void for_each_buffer(Module& root, const std::function<void(const std::string& path, Tensor&)>& f);
/// The root itself comes first, under the empty path; parents before their children.
void for_each_module(Module& root, const std::function<void(const std::string& path, Module&)>& f);

std::vector<Parameter*> parameters(Module& root);
/// Gives every module of a model its path. Call it once, on the finished model.
void name_modules(Module& root);
/// Sets `requires_grad` of every parameter below `root`. A frozen layer makes no g_w and saves no
/// x.
void set_requires_grad(Module& root, bool requires_grad);
/// Forgets all gradients.
void zero_grad(Module& root);

/// Throws Error, in the name of `layer`, unless `what`, a parameter or buffer of the layer, still
/// has the shape that it was made with: users may replace it.
void require_shape(const std::string& layer, const char* what, const Tensor& value,
                   const Shape& expected);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
