#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

Var Module::forward(const Var&) { fail("[{}] needs more than one input", path()); }

std::string Visitor::join(const std::string& name) const {
    return prefix_.empty() ? name : prefix_ + "." + name;
}

void Visitor::walk(Module& root) {
    modules_.insert(&root);
    root.visit(*this);
}

void Visitor::parameter(const std::string& name, Parameter& parameter) {
    if (parameters_.insert(&parameter).second) on_parameter(join(name), parameter);
}

void Visitor::buffer(const std::string& name, Tensor& buffer) {
    if (buffers_.insert(&buffer).second) on_buffer(join(name), buffer);
}

void Visitor::module(const std::string& name, Module& module) {
    if (!modules_.insert(&module).second) return;
    const std::string outer = std::exchange(prefix_, join(name));
    on_module(prefix_, module);
    module.visit(*this);
    prefix_ = outer;
}

namespace {

struct Callbacks final : Visitor {
    std::function<void(const std::string&, Parameter&)> parameter_callback;
    std::function<void(const std::string&, Tensor&)> buffer_callback;
    std::function<void(const std::string&, Module&)> module_callback;

    void on_parameter(const std::string& path, Parameter& p) override {
        if (parameter_callback) parameter_callback(path, p);
    }
    void on_buffer(const std::string& path, Tensor& b) override {
        if (buffer_callback) buffer_callback(path, b);
    }
    void on_module(const std::string& path, Module& m) override {
        if (module_callback) module_callback(path, m);
    }
};

}  // namespace

void for_each_parameter(Module& root,
                        const std::function<void(const std::string&, Parameter&)>& f) {
    Callbacks visitor;
    visitor.parameter_callback = f;
    visitor.walk(root);
}

void for_each_buffer(Module& root, const std::function<void(const std::string&, Tensor&)>& f) {
    Callbacks visitor;
    visitor.buffer_callback = f;
    visitor.walk(root);
}

void for_each_module(Module& root, const std::function<void(const std::string&, Module&)>& f) {
    f("", root);
    Callbacks visitor;
    visitor.module_callback = f;
    visitor.walk(root);
}

std::vector<Parameter*> parameters(Module& root) {
    std::vector<Parameter*> all;
    for_each_parameter(root, [&](const std::string&, Parameter& p) { all.push_back(&p); });
    return all;
}

void name_modules(Module& root) {
    for_each_module(root, [](const std::string& path, Module& module) { module.path_ = path; });
}

void set_requires_grad(Module& root, bool requires_grad) {
    for_each_parameter(root,
                       [&](const std::string&, Parameter& p) { p.requires_grad = requires_grad; });
}

void zero_grad(Module& root) {
    for_each_parameter(root, [](const std::string&, Parameter& p) { p.grad = {}; });
}

void require_shape(const std::string& layer, const char* what, const Tensor& value,
                   const Shape& expected) {
    require(value.defined() && value.shape() == expected, "[{}] expected {} of shape {}, got {}",
            layer, what, shown(expected), shown(value));
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
