#include "bench/projectors.h"

#include <cmath>
#include <map>
#include <numeric>

#include "instant/cost/cost_model.h"
#include "instant/methods/low_rank_rule.h"
#include "tensor/ops.h"

namespace slimgrad::bench {
namespace {

/// LowRankRule's formulas, in the plainest way. It keeps x itself and projects it in backward.
class PlainLowRankRule final : public BackwardRule {
  public:
    explicit PlainLowRankRule(Projectors projectors) : projectors_(std::move(projectors)) {}
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
            const auto& p = projectors_.p;
            if (!p)
                grads.gw = matmul_sum(gy, x);
            else if (p->side == Side::token)  // Σ_b (P g_b)ᵀ (P x_b)
                grads.gw = matmul_sum(matmul(p->basis, gy), matmul(p->basis, x));
            else  // (Σ_b g_bᵀ (x_b Pᵀ)) P
                grads.gw =
                    matmul(matmul_sum(gy, matmul(x, p->basis, Op::none, Op::transpose)), p->basis);
        }
        if (call.needs.gx) {
            const auto& q = projectors_.q;
            if (!q)
                grads.gx = matmul(gy, w);
            else if (q->side == Side::token)  // Qᵀ ((Q g) W)
                grads.gx = matmul(q->basis, matmul(matmul(q->basis, gy), w), Op::transpose);
            else  // (g Qᵀ)(Q W)
                grads.gx =
                    matmul(matmul(gy, q->basis, Op::none, Op::transpose), matmul(q->basis, w));
        }
        return grads;
    }

  private:
    Projectors projectors_;
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

}  // namespace

std::shared_ptr<const Projector> random_projector(Side side, std::int64_t rank, std::int64_t dim,
                                                  Stream& stream) {
    rank = std::min(rank, dim);
    Projector projector{{side, normal({rank, dim}, 0, 1, stream)}};
    for (std::int64_t row = 0; row < rank; ++row) orthonormalise(projector.basis.data(), row, dim);
    projector.basis.mark(Category::projectors);
    return std::make_shared<const Projector>(std::move(projector));
}

std::vector<Projectors> random_projectors(const std::vector<LinearShape>& shapes,
                                          const Variant& variant, std::int64_t batch) {
    MethodOptions options;
    options.method = variant.method;
    options.batch = batch;
    std::map<std::string, std::shared_ptr<const Projector>> groups;
    std::vector<Projectors> all;
    for (const LinearShape& shape : shapes) {
        const bool qkv = shape.name.ends_with("qkv");
        options.rank_x = variant.ranks.x;
        options.rank_g = qkv ? variant.ranks.g_qkv.value_or(variant.ranks.g) : variant.ranks.g;
        const Compression c = compression_of(shape, options);
        const auto make = [&](Side side, std::int64_t rank, std::int64_t channels,
                              const std::string& name) {
            Stream stream(variant.seed, "projector " + name);
            return random_projector(side, rank, side == Side::token ? shape.tokens : channels,
                                    stream);
        };
        Projectors projectors;
        if (c.rank_x) {
            auto& p = groups[shape.input_group];
            if (!p) p = make(c.side_x, *c.rank_x, shape.in_channels, "P " + shape.input_group);
            projectors.p = p;
        }
        if (c.rank_g)
            projectors.q = make(c.side_g, *c.rank_g, shape.out_channels, "Q " + shape.name);
        all.push_back(std::move(projectors));
    }
    return all;
}

std::shared_ptr<const BackwardRule> make_rule(const Projectors& projectors, bool plain) {
    if (plain) return std::make_shared<const PlainLowRankRule>(projectors);
    if (!projectors.p && !projectors.q) return ExactRule::instance();
    return std::make_shared<const LowRankRule>(projectors.p, projectors.q);
}

std::vector<Projectors> install_projectors(Module& model, const Variant& variant,
                                           std::int64_t batch,
                                           const std::function<void()>& forward) {
    const std::vector<LinearShape> shapes = trace_linear_maps(model, forward);
    std::vector<Projectors> all = random_projectors(shapes, variant, batch);
    std::map<std::string, std::shared_ptr<const BackwardRule>> rules;
    for (std::size_t i = 0; i < shapes.size(); ++i)
        rules[shapes[i].name] = make_rule(all[i], variant.plain);
    for (LinearMap* layer : linear_maps(model))
        if (const auto found = rules.find(layer->path()); found != rules.end())
            layer->set_rule(found->second);
    return all;
}

}  // namespace slimgrad::bench
