#include "instant/trace.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
namespace {

/// Writes down the geometry of each call and keeps nothing.
class TracingRule final : public BackwardRule {
  public:
    TracingRule(const LinearMap& layer, std::vector<LinearShape>& shapes)
        : layer_(layer), shapes_(shapes) {}
    std::string name() const override { return "trace"; }

    Tensor forward(const LinearInput& x, const Tensor& w, Saved& saved,
                   Needs needs) const override {
        LinearShape shape;
        shape.name = layer_.path();
        shape.tokens = x.matrix().size(1);
        shape.in_channels = w.size(1);
        shape.out_channels = w.size(0);
        shape.held_elements = x.held().size(0) > 0 ? x.held().numel() / x.held().size(0) : 0;
        shape.input_group = layer_.input_group();
        shape.needs_gx = needs.gx;
        shape.needs_gw = needs.gw;
        shape.compressible = layer_.compressible();
        shapes_.push_back(shape);
        return BackwardRule::forward(x, w, saved, needs);
    }
    void save(const LinearInput&, Saved&, Needs) const override {}
    LinearGrads backward(const Tensor&, const Tensor&, const Saved&, Needs) const override {
        fail("[{}] a traced forward has no backward", layer_.path());
    }

  private:
    const LinearMap& layer_;
    std::vector<LinearShape>& shapes_;
};

}  // namespace

std::vector<LinearMap*> linear_maps(Module& model) {
    std::vector<LinearMap*> layers;
    for_each_module(model, [&](const std::string&, Module& module) {
        if (auto* layer = dynamic_cast<LinearMap*>(&module)) layers.push_back(layer);
    });
    return layers;
}

RuleSwap::RuleSwap(Module& model, const Replace& replace) {
    for (LinearMap* layer : linear_maps(model)) {
        original_.emplace_back(layer, layer->rule());
        layer->set_rule(replace(*layer));
    }
}

RuleSwap::~RuleSwap() {
    for (auto& [layer, rule] : original_) layer->set_rule(rule);
}

std::vector<LinearShape> trace_linear_maps(Module& model, const std::function<void()>& forward) {
    std::vector<LinearShape> shapes;
    const RuleSwap swap(
        model, [&](LinearMap& layer) { return std::make_shared<TracingRule>(layer, shapes); });
    forward();
    return shapes;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
