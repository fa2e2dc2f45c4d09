#include "nn/projected_conv2d.h"

#include "tensor/kernels/convolution.h"
#include "tensor/ops.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
namespace {

// With u_b = unfold(x_b): (L, Cx), Cx = C·kh·kw, and g_b: (L, Cy) the rule of the subspaces says
//
//                 token side                    channel side
//   kept of x     x̂_b = P u_b                   x̂_b = u_b Pᵀ
//   g_w           Σ_b (P g_b)ᵀ x̂_b              (Σ_b g_bᵀ x̂_b) P
//   g_x,b         fold(Qᵀ ((Q g_b) W))          fold((g_b Qᵀ) (Q W))
//
// and every product with u_b and every fold is itself a product of a convolution:
//
//   u_b Pᵀ        the rows of P are filters, x̂ an image of R channels
//   fold(ĝ V)     the g_x of filters V for an image ĝ of R channels
//   P u_b         the g_w of an output gradient P, one image of R channels, for the input x_b;
//                 since P is the same for all samples, their channels stand side by side as those
//                 of one image of B·C channels
//   fold(Qᵀ V_b)  the g_x of an output gradient Q and the filters V_b, all samples at once again

/// x̂ and how it was made.
class KeptProjection final : public Packed {
  public:
    explicit KeptProjection(Tensor x_hat) : x_hat_(std::move(x_hat)) {}
    const Tensor& x_hat() const { return x_hat_; }
    std::vector<std::shared_ptr<Storage>> held() const override { return {x_hat_.storage()}; }

  private:
    Tensor x_hat_;
};

class ProjectedConv2d final : public Function {
  public:
    ProjectedConv2d(std::string name, const Window2d& window, Subspaces subspaces)
        : name_(std::move(name)), window_(window), s_(std::move(subspaces)) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        const Tensor &x = in[0], &w = in[1];
        saved.keep(Keep::exact, "w", w);
        if (saved.needs(1) && !s_.p.defined()) saved.keep(Keep::activation, "x", x);
        if (saved.needs(1) && s_.p.defined())  // once for all layers that share P and x
            saved.keep_once("x_hat", s_.p.data(), x, [&] {
                const PhaseScope phase("compress");
                return std::make_shared<KeptProjection>(project(x, w.shape()));
            });
        Tensor y = conv_forward(x, w, window_, 1);
        if (in.size() == 3) {
            const PhaseScope phase("bias");
            add_channels_in_place(y, in[2]);
        }
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Tensor w = saved.tensor("w");
        std::vector<Grad> grads(saved.inputs());
        if (saved.needs(1)) {
            const PhaseScope phase("g_w");
            grads[1] = s_.p.defined() ? gw(gy, saved.as<KeptProjection>("x_hat").x_hat(), w.shape())
                                      : conv_gw(gy, saved.tensor("x"), w.shape(), window_, 1);
        }
        if (saved.needs(0)) {
            const PhaseScope phase("g_x");
            grads[0] = s_.q.defined() ? gx(gy, w) : conv_gx(gy, w, window_, 1);
        }
        if (saved.inputs() == 3 && saved.needs(2)) {
            const PhaseScope phase("g_b");
            grads[2] = sum_channels(gy);
        }
        return grads;
    }

  private:
    /// x̂: on the token side (B, R, Cx), on the channel side (B, R, H', W').
    Tensor project(const Tensor& x, const Shape& w) const {
        check(s_.p, s_.p_on_tokens, w[1] * window_.taps());
        const std::int64_t batch = x.size(0), rank = s_.p.size(0);
        if (!s_.p_on_tokens) return conv_forward(x, filters(s_.p), window_, 1);
        const Tensor p_u =
            conv_gw(image(s_.p), side_by_side(x), {rank, batch * w[1], w[2], w[3]}, window_, 1);
        return transpose(p_u.reshape({rank, batch, w[1] * window_.taps()}), {1, 0, 2});
    }

    Tensor gw(const Tensor& gy, const Tensor& x_hat, const Shape& w) const {
        if (s_.p_on_tokens) {
            const Tensor p_g = transpose(on_tokens(s_.p, gy), {0, 2, 1});  // (B, R, Cy)
            return matmul_sum(p_g, x_hat).reshape(w);                      // (Cy,B·R)·(B·R,Cx)
        }
        const std::int64_t rank = s_.p.size(0);
        const Tensor sum = conv_gw(gy, x_hat, {w[0], rank, 1, 1}, own_pixel(), 1);  // Σ g_bᵀ x̂_b
        return matmul(sum.reshape({w[0], rank}), s_.p).reshape(w);  // (Cy,R)·(R,Cx)
    }

    Tensor gx(const Tensor& gy, const Tensor& w) const {
        check(s_.q, s_.q_on_tokens, w.size(0));
        const Tensor matrix = w.reshape({w.size(0), -1});  // (Cy, Cx)
        if (s_.q_on_tokens) {
            const std::int64_t batch = gy.size(0), rank = s_.q.size(0);
            const Tensor q_g = transpose(on_tokens(s_.q, gy), {2, 0, 1});  // (R, B, Cy)
            const Tensor v = matmul(q_g, matrix)                           // (R·B,Cy)·(Cy,Cx)
                                 .reshape({rank, batch * w.size(1), w.size(2), w.size(3)});
            return conv_gx(image(s_.q), v, window_, 1)
                .reshape({batch, w.size(1), window_.rows.length, window_.columns.length});
        }
        const Tensor g_q = conv_forward(gy, s_.q.reshape({-1, w.size(0), 1, 1}), own_pixel(), 1);
        return conv_gx(g_q, filters(matmul(s_.q, matrix)), window_, 1);
    }

    /// g_bᵀ aᵀ for a: (R, L) -> (B, Cy, R)
    Tensor on_tokens(const Tensor& a, const Tensor& gy) const {
        const Tensor rows = gy.reshape({gy.size(0), gy.size(1), window_.positions()});
        return matmul(rows, a, Op::none, Op::transpose);  // (B·Cy,L)·(L,R)
    }

    void check(const Tensor& basis, bool on_tokens, std::int64_t channels) const {
        const std::int64_t expected = on_tokens ? window_.positions() : channels;
        require(
            basis.size(1) == expected, "[{}] calibrated for {} {}, got {}. Hint: {}", name_,
            basis.size(1), on_tokens ? "tokens" : "channels", expected,
            on_tokens ? "give it images of one size, or use the channel side" : "calibrate again");
    }

    /// (R, L) as one image of R channels.
    Tensor image(const Tensor& basis) const {
        return basis.reshape(
            {1, basis.size(0), window_.rows.positions(), window_.columns.positions()});
    }
    /// (R, Cx) as R filters.
    Tensor filters(const Tensor& rows) const {
        return rows.reshape({rows.size(0), rows.size(1) / window_.taps(), window_.rows.kernel,
                             window_.columns.kernel});
    }
    /// (B, C, H, W) as one image of B·C channels.
    static Tensor side_by_side(const Tensor& x) {
        return x.reshape({1, x.size(0) * x.size(1), x.size(2), x.size(3)});
    }
    /// The window of a 1x1 convolution on y.
    Window2d own_pixel() const {
        return {{window_.rows.positions(), 1}, {window_.columns.positions(), 1}};
    }

    std::string name_;
    Window2d window_;
    Subspaces s_;
};

}  // namespace

std::shared_ptr<const Function> projected_conv2d(std::string name, const Window2d& window,
                                                 Subspaces subspaces) {
    return std::make_shared<ProjectedConv2d>(std::move(name), window, std::move(subspaces));
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
