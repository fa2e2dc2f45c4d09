#include "instant/methods/galore.h"

#include <algorithm>
#include <set>

#include "instant/methods/options.h"
#include "nn/linear_map.h"
#include "tensor/linalg.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// A parameter as a matrix, and the side from which its basis multiplies.
struct Sides {
    std::int64_t rows, columns;
    explicit Sides(const Shape& shape)
        : rows(shape[0]), columns(rows > 0 ? numel(shape) / rows : 0) {}
    bool right() const { return rows >= columns; }
    std::int64_t shorter() const { return std::min(rows, columns); }
};

class GaloreBasis final : public MatrixBasis {
  public:
    /// `before`: the basis of period `period_before`, or undefined.
    GaloreBasis(Shape shape, Tensor basis, std::int64_t period, Tensor before,
                std::int64_t period_before, Options options)
        : MatrixBasis(Sides(shape).right() ? Multiply::right : Multiply::left, basis.size(0),
                      basis.size(1), period, options),
          shape_(std::move(shape)),
          basis_(std::move(basis)),
          before_(std::move(before)),
          period_before_(period_before) {}

    Tensor expand(const Tensor& compressed) const override {
        return MatrixBasis::expand(compressed).reshape(shape_);
    }
    std::optional<Shape> dense_shape(const Shape& compressed) const override {
        const std::optional<Shape> matrix = MatrixBasis::dense_shape(compressed);
        return matrix && numel(*matrix) == numel(shape_) ? shape_ : matrix;
    }

  private:
    Tensor rows(std::int64_t period) const override {
        if (period == this->period()) return basis_;
        return period == period_before_ ? before_ : Tensor();
    }

    Shape shape_;
    Tensor basis_, before_;
    std::int64_t period_before_;
};

const std::string prefix = "basis.";

}  // namespace

Galore::Galore(const std::map<std::string, Target>& targets, std::int64_t redraw_every,
               MatrixBasis::Options options)
    : redraw_every_(redraw_every), options_(options) {
    for (const auto& [name, target] : targets) {
        require(target.shape.size() >= 2 && target.rank >= 1 &&
                    target.rank <= Sides(target.shape).shorter(),
                "[galore] '{}' of shape {} has no projection of rank {}", name, shown(target.shape),
                target.rank);
        subspaces_[name] = {target};
    }
}

Grad Galore::project(const std::string& name, const Parameter& parameter, std::int64_t step) {
    const auto found = subspaces_.find(name);
    if (found == subspaces_.end() || parameter.grad.basis) return parameter.grad;
    Subspace& s = found->second;
    const Tensor& gradient = parameter.grad.value;
    require(gradient.shape() == s.target.shape,
            "[galore] '{}' had shape {} and now has {}. Hint: make a new optimizer for replaced "
            "parameters",
            name, shown(s.target.shape), shown(gradient.shape()));
    const Sides sides(s.target.shape);
    const Tensor g = gradient.reshape({sides.rows, sides.columns});
    Tensor before;
    const std::int64_t period_before = s.period;
    const auto period =
        static_cast<std::int64_t>(draw_of(static_cast<std::uint64_t>(step), redraw_every_));
    if (!s.basis.defined() || s.period != period) {
        require(all_finite(g), "[galore] the gradient of '{}' has values that are not finite",
                name);
        before = s.basis;
        SingularDecomposition found_now = svd(g, s.target.rank);
        s.basis = sides.right() ? std::move(found_now.right) : std::move(found_now.left);
        s.basis.mark(Category::optimizer);
        s.period = period;
    }
    Tensor r = sides.right() ? matmul(g, s.basis, Op::none, Op::transpose)  // (Cy,Cx)·(Cx,r)
                             : matmul(s.basis, g);                          // (r,Cy)·(Cy,Cx)
    return {std::move(r), std::make_shared<GaloreBasis>(s.target.shape, s.basis, s.period, before,
                                                        period_before, options_)};
}

void Galore::visit_state(const std::function<void(const std::string&, Tensor&)>& f) {
    for (auto& [name, s] : subspaces_)
        if (s.basis.defined()) f(prefix + name, s.basis);
}

std::vector<StateSpace> Galore::spaces() const {
    std::vector<StateSpace> all;
    for (const auto& [name, s] : subspaces_)
        if (s.basis.defined()) all.push_back({prefix + name, s.basis.shape(), s.period});
    return all;
}

void Galore::set_space(const StateSpace& space) {
    const bool named = space.name.starts_with(prefix);
    const auto found = subspaces_.find(named ? space.name.substr(prefix.size()) : "");
    require(named && found != subspaces_.end(), "[galore] the state has no place for {}",
            slimgrad::shown(space.name));
    Subspace& s = found->second;
    const Shape expected{s.target.rank, Sides(s.target.shape).shorter()};
    require(space.shape == expected, "[galore] expected {} of shape {}, got {}",
            slimgrad::shown(space.name), shown(expected), shown(space.shape));
    s.basis = Tensor::zeros(expected).mark(Category::optimizer);
    s.period = space.period;
}

std::unique_ptr<GradientProjection> galore_projection(Module& model, const MethodOptions& options) {
    std::set<const Parameter*> weights;
    for (LinearMap* layer : linear_maps(model))
        if (layer->compressible()) weights.insert(&layer->weight());
    std::map<std::string, Galore::Target> targets;
    for_each_parameter(model, [&](const std::string& name, const Parameter& parameter) {
        const Shape& shape = parameter.value.shape();
        if (!weights.contains(&parameter) || parameter.value.numel() == 0) return;
        const std::int64_t axis = std::min(shape[0], numel(shape) / shape[0]);
        const std::int64_t rank = chosen_rank(options, axis);
        if (rank < axis) targets[name] = {shape, rank};
    });
    require(
        !targets.empty() || weights.empty(),
        "[galore] no linear map has both axes longer than its rank: there is nothing to project. "
        "Hint: a smaller rank");
    return std::make_unique<Galore>(targets, options.own.get<std::int64_t>(redraw_option()),
                                    basis_options(options));
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
