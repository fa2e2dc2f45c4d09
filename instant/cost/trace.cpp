#include "instant/cost/trace.h"

#include <map>
#include <memory>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// Writes down the geometry of each call and keeps nothing.
class TracingRule final : public BackwardRule {
  public:
    TracingRule(const LinearMap& layer, std::vector<LinearShape>& shapes,
                std::map<std::shared_ptr<Storage>, std::string>& held)
        : layer_(layer), shapes_(shapes), held_(held) {}
    std::string name() const override { return "trace"; }
    bool takes_groups() const override { return true; }

    Tensor forward(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        LinearShape shape;
        shape.name = layer_.path();
        shape.tokens = call.op->tokens();
        shape.in_channels = call.w.size(1);
        shape.out_channels = call.w.size(0);
        shape.held_elements = call.op->batch() > 0 ? x.held().numel() / call.op->batch() : 0;
        shape.input_group = layer_.input_group();
        shape.held_group = held_.emplace(x.held().storage(), shape.input_group).first->second;
        shape.needs_gx = call.needs.gx;
        shape.needs_gw = call.needs.gw;
        shape.compressible = layer_.compressible();
        shape.attention_output = layer_.attention_output();
        shape.parts = layer_.parts();
        shape.adapted = layer_.adapted();
        shape.rows = call.layout.rows;
        shape.columns = call.layout.columns;
        shape.extra = call.layout.extra;
        if (const Window2d* window = call.op->window()) shape.window = *window;
        shapes_.push_back(shape);
        return BackwardRule::forward(x, saved, call);
    }
    void save(const LinearInput&, Saved&, const LinearCall&) const override {}
    LinearGrads backward(const LinearGradient&, const Saved&, const LinearCall&) const override {
        fail("[{}] a traced forward has no backward", layer_.path());
    }

  private:
    const LinearMap& layer_;
    std::vector<LinearShape>& shapes_;
    std::map<std::shared_ptr<Storage>, std::string>& held_;  // who was the first to read a buffer
};

}  // namespace

std::vector<LinearShape> trace_linear_maps(Module& model, const std::function<void()>& forward) {
    std::vector<LinearShape> shapes;
    std::map<std::shared_ptr<Storage>, std::string> held;
    const RuleSwap swap(model, [&](LinearMap& layer) {
        return std::make_shared<TracingRule>(layer, shapes, held);
    });
    forward();
    return shapes;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
