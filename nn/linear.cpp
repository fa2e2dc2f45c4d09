#include "nn/linear.h"

#include "autograd/ops.h"
#include "nn/init.h"
#include "nn/low_rank_adapter.h"
#include "nn/token_projection.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// --- the products
// ---------------------------------------------------------------------------------

TokenOperator::TokenOperator(Shape x_shape) : x_shape_(std::move(x_shape)) {
    require(x_shape_.size() >= 2, "[{}] expected (batch, ..., channels), got {}", current_layer(),
            shown(x_shape_));
    tokens_ = numel({x_shape_.begin() + 1, x_shape_.end() - 1});
}

Shape TokenOperator::y_shape(std::int64_t out_channels) const {
    Shape shape = x_shape_;
    shape.back() = out_channels;
    return shape;
}

Tensor TokenOperator::forward(const Tensor& x, const Tensor& w) const {
    return as_layer(matmul(matrix(x), w, Op::none, Op::transpose));  // (B·L,Cx)·(Cx,Cy)
}

Tensor TokenOperator::gw(const Tensor& gy, const Tensor& x) const {
    return matmul_sum(matrix(gy), matrix(x));  // Σ_b g_bᵀ x_b      (Cy,B·L)·(B·L,Cx)
}

Tensor TokenOperator::gx(const Tensor& gy, const Tensor& w) const {
    return as_layer(matmul(matrix(gy), w));  // g W      (B·L,Cy)·(Cy,Cx)
}

Tensor TokenOperator::gb(const Tensor& gy) const { return sum_tokens(matrix(gy)); }

void TokenOperator::add_bias_in_place(Tensor& y, const Tensor& b) const { add_row_in_place(y, b); }

Tensor TokenOperator::project(const Subspace& p, const Tensor& x) const {
    return project_tokens(p, matrix(x));  // P x_b      (R,L)·(L,Cx) a sample
}

ProjectedGradient TokenOperator::project(const Subspace* p, const Subspace* q, const Tensor& gy,
                                         bool with_sum) const {
    return project_tokens(p, q, matrix(gy), with_sum);
}

Tensor TokenOperator::expand(const Subspace& q, const Tensor& g_hat, const Tensor& w) const {
    // (B·R,Cy)·(Cy,Cx), then (L,R)·(R,Cx) a sample
    return as_layer(expand_tokens(q, matmul(g_hat, w)));
}

Tensor TokenOperator::matrix(const Tensor& values) const {
    return values.reshape({x_shape_[0], tokens_, values.size(-1)});
}

Tensor TokenOperator::as_layer(const Tensor& matrix) const {
    return matrix.reshape(y_shape(matrix.size(-1)));
}

// --- the layer
// ------------------------------------------------------------------------------------

Linear::Linear(std::int64_t in_features, std::int64_t out_features, Stream& stream, bool bias)
    : weight_(kaiming_uniform({out_features, in_features}, in_features, stream)) {
    if (bias) bias_ = Parameter(kaiming_uniform({out_features}, in_features, stream));
}

Linear::~Linear() = default;

Var Linear::forward(const Var& x) {
    const Shape& w = weight_.value.shape();
    require(w.size() == 2, "[{}] expected a weight (out_features, in_features), got {}", path(),
            shown(w));
    require(x.value().ndim() >= 2 && x.size(-1) == w[1],
            "[{}] expected last dimension {}, got {}. Hint: x is (batch, ..., in_features)", path(),
            w[1], shown(x.shape()));
    const Var y = apply(x, std::make_shared<TokenOperator>(x.shape()), x.tape().tokens());
    return adapter_ ? y + adapter_->forward(x) : y;
}

void Linear::visit(Visitor& visitor) {
    visitor.parameter("weight", weight_);
    if (bias()) visitor.parameter("bias", bias_);
    if (adapter_) adapter_->visit(visitor);
}

void Linear::add_adapter(std::int64_t rank, double alpha, std::uint64_t seed) {
    require(!adapter_, "[{}] the layer has an adapter already", path());
    adapter_ = std::make_unique<LowRankAdapter>(*this, rank, alpha, seed);
    weight_.requires_grad = bias_.requires_grad = false;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
