#include "nn/cosine_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "autograd/ops.h"
#include "nn/init.h"
#include "nn/scaled_dot_product.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr std::int64_t hidden = 512;

/// t_ij for all distances in a window, (T, 2) with T = (2 side - 1)².
Tensor distances(std::int64_t side) {
    const std::int64_t all = 2 * side - 1;
    Tensor t({all * all, 2});
    const auto scaled = [&](std::int64_t distance) {
        const double d = 8.0 * static_cast<double>(distance) /
                         static_cast<double>(std::max<std::int64_t>(side - 1, 1));
        return static_cast<real>(std::copysign(std::log2(std::abs(d) + 1) / 3, d));
    };
    for (std::int64_t i = 0; i < all; ++i)
        for (std::int64_t j = 0; j < all; ++j) {
            t.data()[2 * (i * all + j)] = scaled(i - (side - 1));
            t.data()[2 * (i * all + j) + 1] = scaled(j - (side - 1));
        }
    return t;
}

/// Calls f(row of the table, i, j) for each pair of tokens of a window.
template <class F>
void for_each_pair(std::int64_t side, F f) {
    const std::int64_t n = side * side, all = 2 * side - 1;
    for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < n; ++j) {
            const std::int64_t rows = i / side - j / side + side - 1;
            const std::int64_t columns = i % side - j % side + side - 1;
            f(rows * all + columns, i, j);
        }
}

// h = relu(t W₁ᵀ + b₁),  z = h W₂ᵀ,  bias_h(i, j) = 16 σ(z)_(t(i,j), h)
//   g_z = 16 σ (1 - σ) Σ over the pairs of a distance of g
//   g_W₂ = g_zᵀ h       g_h = g_z W₂ where h > 0
//   g_W₁ = g_hᵀ t       g_b₁ = Σ g_h
// Nothing is kept beside the weights: there are few distances, and h is made again.
class PositionBiasFunction final : public Function {
  public:
    PositionBiasFunction(std::string name, std::int64_t side)
        : name_(std::move(name)), side_(side), t_(distances(side)) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        const char* const slots[] = {"w1", "b1", "w2"};
        for (std::size_t i = 0; i < 3; ++i) saved.keep(Keep::exact, slots[i], in[i]);
        const Tensor z = matmul(layer(in[0], in[1]), in[2], Op::none, Op::transpose);
        const std::int64_t heads = in[2].size(0), n = side_ * side_;
        Tensor bias({heads, n, n});
        for (std::int64_t head = 0; head < heads; ++head)
            for_each_pair(side_, [&](std::int64_t row, std::int64_t i, std::int64_t j) {
                bias.data()[(head * n + i) * n + j] = 16 * sigmoid(z.data()[row * heads + head]);
            });
        meter().add(4 * bias.numel());
        return bias;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Tensor w1 = saved.tensor("w1"), b1 = saved.tensor("b1"), w2 = saved.tensor("w2");
        const Tensor h = layer(w1, b1), z = matmul(h, w2, Op::none, Op::transpose);
        const std::int64_t heads = w2.size(0), n = side_ * side_;
        Tensor gz = Tensor::zeros(z.shape());
        for (std::int64_t head = 0; head < heads; ++head)
            for_each_pair(side_, [&](std::int64_t row, std::int64_t i, std::int64_t j) {
                gz.data()[row * heads + head] += gy.data()[(head * n + i) * n + j];
            });
        for (std::int64_t i = 0; i < gz.numel(); ++i) {
            const real s = sigmoid(z.data()[i]);
            gz.data()[i] *= 16 * s * (1 - s);
        }
        const Tensor gw2 = matmul(gz, h, Op::transpose);
        Tensor gh = matmul(gz, w2);
        for (std::int64_t i = 0; i < gh.numel(); ++i)
            if (h.data()[i] <= 0) gh.data()[i] = 0;
        meter().add(gy.numel() + 7 * gz.numel() + gh.numel());
        return {matmul(gh, t_, Op::transpose), sum(gh, 0), gw2};
    }

  private:
    static real sigmoid(real z) { return 1 / (1 + std::exp(-z)); }
    Tensor layer(const Tensor& w1, const Tensor& b1) const {
        Tensor h = matmul(t_, w1, Op::none, Op::transpose) + b1;
        for (real& value : h.values()) value = std::max(value, real(0));
        meter().add(h.numel());
        return h;
    }

    std::string name_;
    std::int64_t side_;
    Tensor t_;
};

// Of each head: q' = s √d q / |q|, k' = k / |k|, v' = v, with s = exp(min(logit_scale, ln 100))
//   g_q = s √d (g - q̂ (q̂ · g)) / |q|      g_k the same without s √d
//   g_logit = s Σ √d q̂ · g, or 0 where logit_scale is above ln 100
// Kept: the result, which the attention keeps too, and the lengths.
class CosineFunction final : public Function {
  public:
    CosineFunction(std::string name, std::int64_t heads) : name_(std::move(name)), heads_(heads) {}
    std::string name() const override { return name_; }

    // inputs: qkv (B, L, 3 · width), logit_scale (heads, 1, 1)
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        const std::int64_t rows = in[0].size(0) * in[0].size(1), width = in[0].size(2) / 3;
        const std::int64_t d = width / heads_;
        Tensor y(in[0].shape()), lengths({rows, 2 * heads_});
#pragma omp parallel for schedule(static) if (y.numel() > parallel_threshold)
        for (std::int64_t row = 0; row < rows; ++row) {
            const real* from = in[0].data() + row * 3 * width;
            real* to = y.data() + row * 3 * width;
            for (std::int64_t h = 0; h < 2 * heads_; ++h) {  // heads of q, then of k
                real squares = 0;
                for (std::int64_t i = h * d; i < (h + 1) * d; ++i) squares += from[i] * from[i];
                const real length = std::max(std::sqrt(squares), least);
                lengths.data()[row * 2 * heads_ + h] = length;
                const real factor = (h < heads_ ? scale(in[1], h, d) : 1) / length;
                for (std::int64_t i = h * d; i < (h + 1) * d; ++i) to[i] = factor * from[i];
            }
            std::copy_n(from + 2 * width, width, to + 2 * width);
        }
        meter().add(2 * y.numel());
        saved.keep(Keep::activation, "y", y);
        saved.keep(Keep::exact, "lengths", lengths);
        saved.keep(Keep::exact, "scale", in[1]);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Tensor y = saved.tensor("y"), lengths = saved.tensor("lengths");
        const Tensor logit = saved.tensor("scale");
        const std::int64_t rows = y.size(0) * y.size(1), width = y.size(2) / 3, d = width / heads_;
        Tensor gx(y.shape()), along({rows, heads_});  // along: y · g, which is s √d q̂ · g
#pragma omp parallel for schedule(static) if (y.numel() > parallel_threshold)
        for (std::int64_t row = 0; row < rows; ++row) {
            const real* unit = y.data() + row * 3 * width;
            const real* g = gy.data() + row * 3 * width;
            real* to = gx.data() + row * 3 * width;
            for (std::int64_t h = 0; h < 2 * heads_; ++h) {
                const bool is_q = h < heads_;
                const real factor = is_q ? scale(logit, h, d) : 1;
                const real length = lengths.data()[row * 2 * heads_ + h];
                real product = 0;
                for (std::int64_t i = h * d; i < (h + 1) * d; ++i) product += unit[i] * g[i];
                if (is_q) along.data()[row * heads_ + h] = product;
                // A vector that is shorter than the least length was divided by a constant.
                const real back = length > least ? product / (factor * factor) : 0;
                for (std::int64_t i = h * d; i < (h + 1) * d; ++i)
                    to[i] = factor / length * (g[i] - back * unit[i]);
            }
            std::copy_n(g + 2 * width, width, to + 2 * width);
        }
        Tensor gl = Tensor::zeros(logit.shape());
        for (std::int64_t h = 0; h < heads_; ++h) {
            if (logit.data()[h] > largest) continue;
            double sum = 0;
            for (std::int64_t row = 0; row < rows; ++row)
                sum += static_cast<double>(along.data()[row * heads_ + h]);
            gl.data()[h] = static_cast<real>(sum);
        }
        meter().add(4 * gx.numel() + along.numel());
        return {gx, gl};
    }

  private:
    static constexpr real least = real(1e-12), largest = real(4.605170185988092);  // ln 100
    /// s √d: the attention divides by √d.
    static real scale(const Tensor& logit, std::int64_t head, std::int64_t d) {
        return std::exp(std::min(logit.data()[head], largest)) * std::sqrt(static_cast<real>(d));
    }

    std::string name_;
    std::int64_t heads_;
};

}  // namespace

PositionBias::PositionBias(std::int64_t heads, std::int64_t side, Stream& stream)
    : side_(side),
      w1_(kaiming_uniform({hidden, 2}, 2, stream)),
      b1_(kaiming_uniform({hidden}, 2, stream)),
      w2_(kaiming_uniform({heads, hidden}, hidden, stream)) {}

Var PositionBias::on(Tape& tape) {
    return tape.apply(std::make_shared<PositionBiasFunction>(path(), side_),
                      {tape.parameter(w1_), tape.parameter(b1_), tape.parameter(w2_)});
}

void PositionBias::visit(Visitor& visitor) {
    visitor.parameter("0.weight", w1_);
    visitor.parameter("0.bias", b1_);
    visitor.parameter("2.weight", w2_);
}

WindowAttention::WindowAttention(std::int64_t width, std::int64_t heads, const Windows& windows,
                                 Stream& stream)
    : width_(width),
      heads_(heads),
      windows_(windows),
      mask_(window_mask(windows)),
      logit_scale_(Tensor::full({heads, 1, 1}, static_cast<real>(std::log(10.0)))),
      q_bias_(Tensor::zeros({width})),
      v_bias_(Tensor::zeros({width})),
      cpb_mlp_(heads, windows.side, stream),
      qkv_(width, 3 * width, stream, false),
      proj_(width, width, stream) {
    require(heads > 0 && width % heads == 0,
            "[window_attention] the number of heads must divide the width {}, got {}", width,
            heads);
    qkv_.set_parts(3);
    proj_.set_attention_output(true);
}

Var WindowAttention::forward(const Var& x) {
    Tape& tape = x.tape();
    const Var bias = concat(
        {tape.parameter(q_bias_), tape.constant(Tensor::zeros({width_})), tape.parameter(v_bias_)},
        0);
    const Var qkv = to_windows(path(), qkv_.forward(x) + bias, windows_);
    const Var unit = tape.apply(std::make_shared<CosineFunction>(path() + ".cosine", heads_),
                                {qkv, tape.parameter(logit_scale_)});
    const Var positions = cpb_mlp_.on(tape);
    const Var y = scaled_dot_product_attention(
        path(), {unit}, &positions,
        {.heads = heads_, .key_width = width_ / heads_, .mask = {mask_, {}}});
    return proj_.forward(from_windows(path(), y, windows_));
}

void WindowAttention::visit(Visitor& visitor) {
    visitor.parameter("logit_scale", logit_scale_);
    visitor.parameter("q_bias", q_bias_);
    visitor.parameter("v_bias", v_bias_);
    visitor.module("cpb_mlp", cpb_mlp_);
    visitor.module("qkv", qkv_);
    visitor.module("proj", proj_);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
