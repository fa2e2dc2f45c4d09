#include "nn/linear_map.h"

#include "tensor/meter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// A gradient on a basis of (Cy, Cx), as that of a weight with more axes: filters (Cy, C, kh, kw).
class ReshapedBasis final : public Basis {
  public:
    ReshapedBasis(std::shared_ptr<const Basis> matrix, Shape shape)
        : matrix_(std::move(matrix)), shape_(std::move(shape)) {}
    Tensor expand(const Tensor& compressed) const override {
        return matrix_->expand(compressed).reshape(shape_);
    }
    std::optional<Shape> dense_shape(const Shape& compressed) const override {
        const std::optional<Shape> matrix = matrix_->dense_shape(compressed);
        return matrix && numel(*matrix) == numel(shape_) ? shape_ : matrix;
    }
    bool same_as(const Basis& other) const override {
        const auto* reshaped = dynamic_cast<const ReshapedBasis*>(&other);
        return reshaped && shape_ == reshaped->shape_ && matrix_->same_as(*reshaped->matrix_);
    }
    std::int64_t period() const override { return matrix_->period(); }
    double scale() const override { return matrix_->scale(); }
    Tensor carry(const Tensor& moment, int power, std::int64_t period_before) const override {
        return matrix_->carry(moment, power, period_before);
    }

  private:
    std::shared_ptr<const Basis> matrix_;
    Shape shape_;
};

// y = x Wᵀ + b
//   g_w = Σ_b g_bᵀ x_b      g_x = g W      g_b = Σ g over samples and tokens
// The operator knows the products, the rule what is kept of x and which products are taken.
class LinearMapFunction final : public Function {
  public:
    /// `call`: all but W and what is needed.
    LinearMapFunction(LinearCall call, std::shared_ptr<const BackwardRule> rule)
        : call_(std::move(call)), rule_(std::move(rule)) {}

    std::string name() const override { return call_.layer; }

    // inputs: x, W (Cy, ...) and, if there is one, b (Cy,)
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        saved.keep(Keep::exact, "w", in[1]);
        Tensor y = forward_by(*rule_, in[0], saved, call(in[1], saved));
        if (in.size() == 3) {
            const PhaseScope phase("bias");
            call_.op->add_bias_in_place(y, in[2]);
        }
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Tensor w = saved.tensor("w");
        auto [gx, gw, gb] = backward_by(*rule_, gy, saved, call(w, saved));
        if (gw.basis && w.ndim() > 2)
            gw.basis = std::make_shared<ReshapedBasis>(gw.basis, w.shape());
        else if (gw.defined() && !gw.basis)
            gw.value = gw.value.reshape(w.shape());
        std::vector<Grad> grads{gx, gw};
        if (saved.inputs() == 3) grads.emplace_back(gb);
        return grads;
    }

  private:
    LinearCall call(const Tensor& w, const Saved& saved) const {
        LinearCall call = call_;
        call.w = w.reshape({w.size(0), -1});
        call.needs = {saved.needs(0), saved.needs(1), saved.inputs() == 3 && saved.needs(2)};
        return call;
    }

    LinearCall call_;
    std::shared_ptr<const BackwardRule> rule_;
};

}  // namespace

Var LinearMap::apply(const Var& x, std::shared_ptr<const LinearOperator> op, TokenLayout layout,
                     bool grouped) {
    Tape& tape = x.tape();
    std::vector<Var> inputs{x, tape.parameter(weight())};
    if (bias()) inputs.push_back(tape.parameter(*bias()));
    const TapeOptions& o = tape.options();
    LinearCall call{.op = std::move(op),
                    .layer = path(),
                    .input_group = input_group(),
                    .layout = std::move(layout),
                    .seed = o.seed,
                    .step = o.step,
                    .first_sample = o.first_sample};
    const bool exact =
        !tape.training() || !rule_->applies(call) || (grouped && !rule_->takes_groups());
    const auto& rule = exact ? ExactRule::instance() : rule_;
    return tape.apply(std::make_shared<LinearMapFunction>(std::move(call), rule), inputs);
}

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

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
