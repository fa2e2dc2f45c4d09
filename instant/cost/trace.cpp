#include "instant/cost/trace.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// Writes down the geometry of each call and keeps nothing.
class TracingRule final : public BackwardRule {
  public:
    TracingRule(const LinearMap& layer, std::vector<LinearShape>& shapes)
        : layer_(layer), shapes_(shapes) {}
    std::string name() const override { return "trace"; }

    Tensor forward(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        LinearShape shape;
        shape.name = layer_.path();
        shape.tokens = call.op->tokens();
        shape.in_channels = call.w.size(1);
        shape.out_channels = call.w.size(0);
        shape.held_elements = call.op->batch() > 0 ? x.held().numel() / call.op->batch() : 0;
        shape.input_group = layer_.input_group();
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
};

}  // namespace

std::vector<LinearShape> trace_linear_maps(Module& model, const std::function<void()>& forward) {
    std::vector<LinearShape> shapes;
    const RuleSwap swap(
        model, [&](LinearMap& layer) { return std::make_shared<TracingRule>(layer, shapes); });
    forward();
    return shapes;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
