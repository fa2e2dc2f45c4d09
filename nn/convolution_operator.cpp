#include "nn/convolution_operator.h"

#include "tensor/kernels/convolution.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// Every product with u_b = unfold(x_b): (L, Cx) and every fold is itself a product of a
// convolution:
//
//   u_b Pᵀ        the rows of P are filters, x̂ an image of R channels
//   fold(ĝ V)     the g_x of filters V for an image ĝ of R channels
//   P u_b         the g_w of an output gradient P, one image of R channels, for the input x_b;
//                 since P is the same for all samples, their channels stand side by side as those
//                 of one image of B·C channels
//   fold(Qᵀ V_b)  the g_x of an output gradient Q and the filters V_b, all samples at once again

ConvolutionOperator::ConvolutionOperator(Shape x_shape, const Window2d& window, std::int64_t groups)
    : x_shape_(std::move(x_shape)), window_(window), groups_(groups) {}

Shape ConvolutionOperator::y_shape(std::int64_t out_channels) const {
    return {x_shape_[0], out_channels, window_.rows.positions(), window_.columns.positions()};
}

// --- exact products
// -------------------------------------------------------------------------------

Tensor ConvolutionOperator::forward(const Tensor& x, const Tensor& w) const {
    return conv_forward(x, filters(w), window_, groups_);
}

Tensor ConvolutionOperator::gw(const Tensor& gy, const Tensor& x) const {
    const Shape w = filter_shape(gy.size(1), x_shape_[1] / groups_);
    return conv_gw(gy, x, w, window_, groups_).reshape({gy.size(1), in_channels()});
}

Tensor ConvolutionOperator::gx(const Tensor& gy, const Tensor& w) const {
    return conv_gx(gy, filters(w), window_, groups_);
}

Tensor ConvolutionOperator::gb(const Tensor& gy) const { return sum_channels(gy); }

void ConvolutionOperator::add_bias_in_place(Tensor& y, const Tensor& b) const {
    add_channels_in_place(y, b);
}

// --- matrices
// -------------------------------------------------------------------------------------

Tensor ConvolutionOperator::x_matrix(const Tensor& x) const { return im2col(x, window_); }

Tensor ConvolutionOperator::y_matrix(const Tensor& y) const {
    return transpose(y.reshape({y.size(0), y.size(1), tokens()}), {0, 2, 1});
}

Tensor ConvolutionOperator::x_of(const Tensor& matrix) const {
    const PhaseScope phase("fold");
    return col2im(matrix, window_);
}

Tensor ConvolutionOperator::y_of(const Tensor& matrix) const {
    return transpose(matrix, {0, 2, 1}).reshape(y_shape(matrix.size(2)));
}

// --- the token side
// -------------------------------------------------------------------------------

Tensor ConvolutionOperator::project(const Subspace& p, const Tensor& x) const {
    require_fits(p, tokens(), in_channels());
    const std::int64_t batch = x.size(0), channels = x.size(1), rank = p.rank();
    const Tensor side_by_side = x.reshape({1, batch * channels, x.size(2), x.size(3)});
    const Tensor p_u =
        conv_gw(image(p.basis), side_by_side, filter_shape(rank, batch * channels), window_, 1);
    return transpose(p_u.reshape({rank, batch, in_channels()}), {1, 0, 2});
}

ProjectedGradient ConvolutionOperator::project(const Subspace* p, const Subspace* q,
                                               const Tensor& gy, bool /*with_sum*/) const {
    ProjectedGradient result;
    if (p) {
        const PhaseScope phase("g_w");
        require_fits(*p, tokens(), gy.size(1));
        result.p = on_tokens(p->basis, gy);
    }
    if (q) {
        const PhaseScope phase("g_x");
        require_fits(*q, tokens(), gy.size(1));
        result.q = on_tokens(q->basis, gy);
    }
    return result;
}

/// A g_b for A: (R, L) -> (B, R, Cy)
Tensor ConvolutionOperator::on_tokens(const Tensor& a, const Tensor& gy) const {
    const Tensor channels = gy.reshape({gy.size(0), gy.size(1), tokens()});
    const Tensor g_hat = matmul(channels, a, Op::none, Op::transpose);  // (B·Cy,L)·(L,R)
    return transpose(g_hat, {0, 2, 1});
}

Tensor ConvolutionOperator::expand(const Subspace& q, const Tensor& g_hat, const Tensor& w) const {
    const std::int64_t batch = g_hat.size(0), rank = q.rank();
    const Tensor v = matmul(transpose(g_hat, {1, 0, 2}), w)  // (R·B,Cy)·(Cy,Cx)
                         .reshape(filter_shape(rank, batch * x_shape_[1]));
    return conv_gx(image(q.basis), v, window_, 1).reshape(x_shape_);
}

// --- the channel side
// -----------------------------------------------------------------------------

Tensor ConvolutionOperator::mix(const Tensor& gy, const Tensor& a) const {
    return conv_forward(gy, a.reshape({a.size(0), a.size(1), 1, 1}), own_pixel(), 1);
}

Tensor ConvolutionOperator::pair(const Tensor& gy, const Tensor& x_hat) const {
    const Shape w{gy.size(1), x_hat.size(1), 1, 1};
    return conv_gw(gy, x_hat, w, own_pixel(), 1).reshape({w[0], w[1]});
}

// --- shapes
// ---------------------------------------------------------------------------------------

Shape ConvolutionOperator::filter_shape(std::int64_t filters, std::int64_t channels) const {
    return {filters, channels, window_.rows.kernel, window_.columns.kernel};
}

Tensor ConvolutionOperator::filters(const Tensor& rows) const {
    return rows.reshape(filter_shape(rows.size(0), rows.size(1) / window_.taps()));
}

Tensor ConvolutionOperator::image(const Tensor& basis) const {
    return basis.reshape({1, basis.size(0), window_.rows.positions(), window_.columns.positions()});
}

/// The window of a 1x1 convolution on y.
Window2d ConvolutionOperator::own_pixel() const {
    return {{window_.rows.positions(), 1}, {window_.columns.positions(), 1}};
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
