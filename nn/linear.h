#pragma once

#include "nn/linear_map.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

class LowRankAdapter;

/// y = x Wᵀ + b with x: (..., Cx), W: (Cy, Cx), b: (Cy,). The first axis of x is the batch, all
/// between it and the last are tokens. Initialised as in PyTorch: U(-1/√Cx, 1/√Cx). With an adapter
/// it adds what that has learned (low_rank_adapter.h).
class Linear final : public LinearMap {
  public:
    Linear(std::int64_t in_features, std::int64_t out_features, Stream& stream, bool bias = true);
    ~Linear() override;

    /// Throws Error unless the last dimension of x is in_features.
    Var forward(const Var& x) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "linear"; }
    using LinearMap::bias;
    using LinearMap::weight;
    Parameter& weight() override { return weight_; }
    Parameter* bias() override { return bias_.value.defined() ? &bias_ : nullptr; }

    /// Freezes W and b, and trains (α/r) B A beside them. name_modules() of the model then names A
    /// and B. Throws Error for a layer that has one, and as LowRankAdapter does.
    void add_adapter(std::int64_t rank, double alpha, std::uint64_t seed);
    /// Null if the layer has none.
    const LowRankAdapter* adapter() const { return adapter_.get(); }
    bool adapted() const override { return adapter_ != nullptr; }

  private:
    Parameter weight_;
    Parameter bias_;  // undefined if the layer has none
    std::unique_ptr<LowRankAdapter> adapter_;
};

/// The products of a Linear on an x of one shape, (B, ..., Cx).
class TokenOperator final : public LinearOperator {
  public:
    /// Throws Error for fewer than two axes.
    explicit TokenOperator(Shape x_shape);

    std::int64_t tokens() const override { return tokens_; }
    const Shape& x_shape() const override { return x_shape_; }
    Shape y_shape(std::int64_t out_channels) const override;
    Tensor forward(const Tensor& x, const Tensor& w) const override;
    Tensor gw(const Tensor& gy, const Tensor& x) const override;
    Tensor gx(const Tensor& gy, const Tensor& w) const override;
    Tensor gb(const Tensor& gy) const override;
    void add_bias_in_place(Tensor& y, const Tensor& b) const override;
    Tensor x_matrix(const Tensor& x) const override { return matrix(x); }
    Tensor y_matrix(const Tensor& y) const override { return matrix(y); }
    Tensor x_of(const Tensor& matrix) const override { return as_layer(matrix); }
    Tensor y_of(const Tensor& matrix) const override { return as_layer(matrix); }
    Tensor project(const Subspace& p, const Tensor& x) const override;
    ProjectedGradient project(const Subspace* p, const Subspace* q, const Tensor& gy,
                              bool with_sum) const override;
    Tensor expand(const Subspace& q, const Tensor& g_hat, const Tensor& w) const override;
    Tensor mix(const Tensor& gy, const Tensor& a) const override { return forward(gy, a); }
    Tensor pair(const Tensor& gy, const Tensor& x_hat) const override { return gw(gy, x_hat); }

  private:
    Tensor matrix(const Tensor& values) const;    // (B, ..., C) as (B, L, C)
    Tensor as_layer(const Tensor& matrix) const;  // and back

    Shape x_shape_;
    std::int64_t tokens_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
