#include "bench/projectors.h"

#include <cmath>
#include <map>
#include <numeric>

#include "instant/cost/cost_model.h"
#include "instant/methods/espace_rule.h"
#include "instant/methods/sketch_rule.h"
#include "instant/methods/subspace_rule.h"
#include "nn/linear.h"
#include "tensor/error.h"
#include "tensor/ops.h"

namespace slimgrad::bench {
namespace {

/// The formulas of two subspaces, in the plainest way. It keeps x itself and projects it in
/// backward.
class PlainSubspaceRule final : public BackwardRule {
  public:
    PlainSubspaceRule(std::shared_ptr<const Subspace> p, std::shared_ptr<const Subspace> q)
        : p_(std::move(p)), q_(std::move(q)) {}
    std::string name() const override { return "plain"; }
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        ExactRule::instance()->save(x, saved, call);
    }
    LinearGrads backward(const LinearGradient& gradient, const Saved& saved,
                         const LinearCall& call) const override {
        const Tensor &gy = gradient.matrix(), &w = call.w;
        LinearGrads grads;
        if (call.needs.gw) {
            const Tensor x = call.op->x_matrix(saved.tensor("x"));
            if (!p_)
                grads.gw = matmul_sum(gy, x);
            else if (p_->side == Side::token)  // Σ_b (P g_b)ᵀ (P x_b)
                grads.gw = matmul_sum(matmul(p_->basis, gy), matmul(p_->basis, x));
            else  // (Σ_b g_bᵀ (x_b Pᵀ)) P
                grads.gw = matmul(matmul_sum(gy, matmul(x, p_->basis, Op::none, Op::transpose)),
                                  p_->basis);
        }
        if (call.needs.gx) {
            if (!q_)
                grads.gx = matmul(gy, w);
            else if (q_->side == Side::token)  // Qᵀ ((Q g) W)
                grads.gx = matmul(q_->basis, matmul(matmul(q_->basis, gy), w), Op::transpose);
            else  // (g Qᵀ)(Q W)
                grads.gx =
                    matmul(matmul(gy, q_->basis, Op::none, Op::transpose), matmul(q_->basis, w));
        }
        return grads;
    }

  private:
    std::shared_ptr<const Subspace> p_, q_;
};

/// Subtracts from `row` its parts along the rows before it, and makes its length 1.
void orthonormalise(real* rows, std::int64_t row, std::int64_t n) {
    real* const self = rows + row * n;
    for (int pass = 0; pass < 2; ++pass)  // the second removes what rounding has left
        for (std::int64_t before = 0; before < row; ++before) {
            const real* other = rows + before * n;
            const double along = std::inner_product(self, self + n, other, 0.0);
            for (std::int64_t i = 0; i < n; ++i)
                self[i] -= static_cast<real>(along * static_cast<double>(other[i]));
        }
    const double length = std::sqrt(std::inner_product(self, self + n, self, 0.0));
    for (std::int64_t i = 0; i < n; ++i) self[i] = static_cast<real>(self[i] / length);
}

void orthonormalise(Tensor& rows) {
    for (std::int64_t row = 0; row < rows.size(0); ++row)
        orthonormalise(rows.data(), row, rows.size(1));
}

/// A sketch as the exact map of projected gradients: of each sample Π g, or g Π on the channel
/// side.
class PlainSketchRule final : public BackwardRule {
  public:
    explicit PlainSketchRule(std::shared_ptr<const SketchRule> rule) : rule_(std::move(rule)) {}
    std::string name() const override { return "plain"; }
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        rule_->save(x, saved, call);  // quantised, if it is
    }
    LinearGrads backward(const LinearGradient& gradient, const Saved& saved,
                         const LinearCall& call) const override {
        const Tensor& gy = gradient.matrix();
        const Tensor omega = rule_->omega(call, rule_->rank(call));
        const bool token = omega.size(1) == gy.size(2);
        Tensor g(gy.shape());
        for (std::int64_t b = 0; b < gy.size(0); ++b) {
            const Tensor sample = gy.rows(b, 1).reshape({gy.size(1), gy.size(2)});
            Tensor basis = token ? matmul(omega, sample, Op::none, Op::transpose)  // (R, L)
                                 : matmul(omega, sample);                          // (R, Cy)
            orthonormalise(basis);
            for (std::int64_t step = 0; step < rule_->options().power; ++step) {
                basis = token ? matmul(matmul(basis, sample), sample, Op::none, Op::transpose)
                              : matmul(matmul(basis, sample, Op::none, Op::transpose), sample);
                orthonormalise(basis);
            }
            const Tensor square = matmul(basis, basis, Op::transpose, Op::none);  // Π
            Tensor part = g.rows(b, 1);
            part.copy_from((token ? matmul(square, sample) : matmul(sample, square))
                               .reshape({1, gy.size(1), gy.size(2)}));
        }
        return ExactRule::instance()->backward({call.op, call.op->y_of(g)}, saved, call);
    }

  private:
    std::shared_ptr<const SketchRule> rule_;
};

/// ESPACE as the exact map of a projected x: y = (Π x) Wᵀ, g_w = Σ_b g_bᵀ (Π x_b), g_x = Π (g W).
class PlainEspaceRule final : public BackwardRule {
  public:
    explicit PlainEspaceRule(const Subspace& p)
        : side_(p.side), square_(matmul(p.basis, p.basis, Op::transpose, Op::none)) {}
    std::string name() const override { return "plain"; }
    Tensor forward(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        save(x, saved, call);
        return matmul(projected(x.matrix()), call.w, Op::none, Op::transpose);
    }
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        ExactRule::instance()->save(x, saved, call);
    }
    LinearGrads backward(const LinearGradient& gradient, const Saved& saved,
                         const LinearCall& call) const override {
        const Tensor& gy = gradient.matrix();
        LinearGrads grads;
        if (call.needs.gw)
            grads.gw = matmul_sum(gy, projected(call.op->x_matrix(saved.tensor("x"))));
        if (call.needs.gx) grads.gx = projected(matmul(gy, call.w));
        return grads;
    }

  private:
    Tensor projected(const Tensor& x) const {
        return side_ == Side::token ? matmul(square_, x) : matmul(x, square_);
    }

    Side side_;
    Tensor square_;  // Π = PᵀP
};

/// A method that mixes tokens: g_w = Σ_b g_bᵀ (A x_b) and g_x = D (g W) with matrices A and D:
/// (L, L). They are what the method makes of an identity in place of each factor.
class PlainTokenRule final : public BackwardRule {
  public:
    PlainTokenRule(const BackwardRule& rule, LinearCall call) {
        const std::int64_t length = call.op->tokens();
        Tensor identity = Tensor::zeros({1, length, length});
        for (std::int64_t i = 0; i < length; ++i) identity.data()[i * (length + 1)] = 1;
        call.op = std::make_shared<TokenOperator>(identity.shape());
        call.w = identity.reshape({length, length});
        call.needs = {true, true};
        Saved saved({true, true});
        rule.save({call.op, identity}, saved, call);
        const LinearGrads grads = rule.backward({call.op, identity}, saved, call);
        on_x_ = grads.gw.dense();
        on_g_ = call.op->x_matrix(grads.gx).reshape({length, length});
    }
    std::string name() const override { return "plain"; }
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        ExactRule::instance()->save(x, saved, call);
    }
    LinearGrads backward(const LinearGradient& gradient, const Saved& saved,
                         const LinearCall& call) const override {
        const Tensor& gy = gradient.matrix();
        LinearGrads grads;
        if (call.needs.gw)
            grads.gw = matmul_sum(gy, matmul(on_x_, call.op->x_matrix(saved.tensor("x"))));
        if (call.needs.gx) grads.gx = matmul(on_g_, matmul(gy, call.w));
        return grads;
    }

  private:
    Tensor on_x_, on_g_;  // A and D
};

}  // namespace

std::shared_ptr<const Projector> random_projector(Side side, std::int64_t rank, std::int64_t dim,
                                                  Stream& stream) {
    rank = std::min(rank, dim);
    Projector projector{{side, normal({rank, dim}, 0, 1, stream)}};
    orthonormalise(projector.basis);
    projector.basis.mark(Category::projectors);
    return std::make_shared<const Projector>(std::move(projector));
}

std::vector<Projectors> random_projectors(const std::vector<LinearShape>& shapes,
                                          const Variant& variant, std::int64_t batch) {
    std::map<std::string, std::shared_ptr<const Projector>> groups;
    std::vector<Projectors> all;
    for (const LinearShape& shape : shapes) {
        const MethodOptions options = options_of(variant, shape, batch);
        const Compression c = compression_of(shape, options);
        const Slots slots = calibrated_slots(options);
        const auto make = [&](Side side, std::int64_t rank, std::int64_t channels,
                              const std::string& name) {
            Stream stream(variant.seed, "projector " + name);
            return random_projector(side, rank, side == Side::token ? shape.tokens : channels,
                                    stream);
        };
        Projectors projectors;
        if (slots.x && c.rank_x) {
            auto& p = groups[shape.input_group];
            if (!p) p = make(c.side_x, *c.rank_x, shape.in_channels, "P " + shape.input_group);
            projectors.p = p;
        }
        if (slots.g && c.rank_g)
            projectors.q = make(c.side_g, *c.rank_g, shape.out_channels, "Q " + shape.name);
        all.push_back(std::move(projectors));
    }
    return all;
}

std::shared_ptr<const BackwardRule> make_rule(const LinearShape& shape, const Variant& variant,
                                              const Projectors& projectors, std::int64_t batch) {
    Stream stream(variant.seed, "layer " + shape.name);
    Linear layer(shape.in_channels, shape.out_channels, stream);
    layer.set_input_group(shape.input_group);
    layer.set_attention_output(shape.attention_output);
    layer.set_parts(shape.parts);
    const MethodOptions options = options_of(variant, shape, batch);
    const Method& method = find_method(variant.method);
    const bool compress = method.rule && shape.compressible && shape.tokens > 1;
    auto rule = compress ? method.rule({layer, options, projectors.p, projectors.q}) : nullptr;
    if (!rule) rule = ExactRule::instance();
    if (!variant.plain) return rule;
    const LinearCall call =
        call_of(shape, variant, {1, shape.tokens, shape.in_channels}, layer.weight().value);
    if (const auto* espace = dynamic_cast<const EspaceRule*>(rule.get()))
        return std::make_shared<PlainEspaceRule>(*espace->p(call));
    if (auto sketches = std::dynamic_pointer_cast<const SketchRule>(rule))
        return std::make_shared<PlainSketchRule>(std::move(sketches));
    if (const auto* subspaces = dynamic_cast<const SubspaceRule*>(rule.get()))
        return std::make_shared<PlainSubspaceRule>(subspaces->p(call), subspaces->q(call));
    // It sums pixels and W over the kernel, which is no matrix between tokens.
    require(rule->name() != "gradient-filter" || !shape.window || shape.window->taps() == 1,
            "[bench] {}: gradient-filter on a convolution has no plain form to compare with. Hint: "
            "--no-verify",
            shape.name);
    return std::make_shared<PlainTokenRule>(*rule, call);
}

LinearCall call_of(const LinearShape& shape, const Variant& variant, Shape x_shape, Tensor w) {
    return {.op = std::make_shared<TokenOperator>(std::move(x_shape)),
            .w = std::move(w),
            .needs = {true, true, true},
            .layer = shape.name,
            .input_group = shape.input_group,
            .layout = {shape.rows, shape.columns, shape.extra},
            .seed = variant.seed};
}

std::vector<Projectors> install_rules(Module& model, const Variant& variant, std::int64_t batch,
                                      const std::function<void()>& forward) {
    const std::vector<LinearShape> shapes = trace_linear_maps(model, forward);
    std::vector<Projectors> all = random_projectors(shapes, variant, batch);
    std::map<std::string, std::shared_ptr<const BackwardRule>> rules;
    for (std::size_t i = 0; i < shapes.size(); ++i)
        rules[shapes[i].name] = make_rule(shapes[i], variant, all[i], batch);
    for (LinearMap* layer : linear_maps(model))
        if (const auto found = rules.find(layer->path()); found != rules.end())
            layer->set_rule(found->second);
    return all;
}

}  // namespace slimgrad::bench
