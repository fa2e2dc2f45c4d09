#include "nn/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "nn/mask.h"
#include "tensor/kernels/bits.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/lane_sum.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// x: (B, C, ...) as B·C planes of `pixels` values; channel c owns every C-th plane.
struct Planes {
    explicit Planes(const Tensor& x)
        : batch(x.size(0)),
          channels(x.size(1)),
          pixels(x.numel() / std::max<std::int64_t>(batch * channels, 1)) {}
    std::int64_t batch, channels, pixels;

    std::int64_t count() const { return batch * pixels; }  // values of one channel
    std::int64_t offset(std::int64_t b, std::int64_t c) const {
        return (b * channels + c) * pixels;
    }
    /// Σ f(i) over the values of channel c.
    template <class F>
    double sum(std::int64_t c, F f) const {
        LaneSum sum;
        each_plane(c, [&](std::int64_t begin) { sum.add(begin, begin + pixels, f); });
        return sum.total();
    }
    /// Calls f(begin) for each plane of channel c, which holds the values [begin, begin + pixels).
    template <class F>
    void each_plane(std::int64_t c, F f) const {
        for (std::int64_t b = 0; b < batch; ++b) f(offset(b, c));
    }

    /// A mask in which every plane begins at a whole byte, so that threads do not share one.
    std::shared_ptr<BitMask> make_mask() const {
        return std::make_shared<BitMask>(8 * batch * channels * bytes());
    }
    std::int64_t first_byte(std::int64_t begin) const {
        return begin / std::max<std::int64_t>(pixels, 1) * bytes();
    }
    std::int64_t bytes() const { return (pixels + 7) / 8; }
};

struct RunningStatistics {
    Tensor mean, var;  // share their values with the layer
    real momentum;
    bool update;
};

// z = γ x̂ + β, x̂ = (x − μ) r, r = 1 / √(v + ε), for each channel of n values
//   g_β = Σ g      g_γ = Σ g x̂
//   g_x = γ r (g − g_β / n − x̂ g_γ / n)   if μ and v are those of the batch, else γ r g
// and, if there are a ReLU and a residual s behind it, y = max(z + s, 0), where g is g_y where
// y > 0, else 0, and also g_s. ReLU6 also stops g where y = 6.
// What is kept is x itself, which the layer below has made anyway, with μ and r: keeping x̂ would
// cost as many bytes and one more pass over memory to write it.
class BatchNormFunction final : public Function {
  public:
    BatchNormFunction(std::string name, real epsilon, bool batch_statistics,
                      RunningStatistics running, bool relu, real most)
        : name_(std::move(name)),
          epsilon_(epsilon),
          batch_statistics_(batch_statistics),
          running_(std::move(running)),
          relu_(relu),
          most_(most) {}

    std::string name() const override { return name_; }

    // inputs: x (B, C, ...), γ (C,), β (C,) and, if there is one, s (B, C, ...)
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        const Tensor& x = in[0];
        const Planes planes(x);
        Tensor y(x.shape()), mean({planes.channels}), r({planes.channels});
        const real *weight = in[1].data(), *bias = in[2].data();
        const real* residual = in.size() == 4 ? in[3].data() : nullptr;
        real *mu = mean.data(), *scale = r.data();
        const auto passed = relu_ ? planes.make_mask() : nullptr;
        RunningStatistics running = running_;
        // A channel belongs to one thread, and its planes stay in that thread's cache between the
        // passes.
#pragma omp parallel for schedule(static) if (x.numel() > parallel_threshold)
        for (std::int64_t c = 0; c < planes.channels; ++c) {
            const auto [average, var] = statistics(planes, x, c, running);
            mu[c] = static_cast<real>(average);
            scale[c] = static_cast<real>(1 / std::sqrt(var + static_cast<double>(epsilon_)));
            const real a = weight[c] * scale[c], shift = bias[c], m = mu[c];
            planes.each_plane(c, [&](std::int64_t begin) {
                const real *from = x.data() + begin, *s = residual ? residual + begin : nullptr;
                real* to = y.data() + begin;
                if (s)
#pragma omp simd
                    for (std::int64_t i = 0; i < planes.pixels; ++i)
                        to[i] = (from[i] - m) * a + shift + s[i];
                else
#pragma omp simd
                    for (std::int64_t i = 0; i < planes.pixels; ++i)
                        to[i] = (from[i] - m) * a + shift;
                if (relu_)
                    rectify(planes.pixels, to, most_, to,
                            passed->bytes() + planes.first_byte(begin));
            });
        }
        // Σx, Σ(x−μ)², (x−μ)·a + β, + s, max and the bit, min
        const std::int64_t rectifying = !relu_ ? 0 : std::isnan(most_) ? 2 : 3;
        meter().add(((batch_statistics_ ? 7 : 3) + (residual ? 1 : 0) + rectifying) * x.numel());

        const bool needs_x = saved.needs(1) || (saved.needs(0) && batch_statistics_);
        if (needs_x) saved.keep(Keep::activation, "x", x);
        if (needs_x) saved.keep(Keep::exact, "mean", mean);
        saved.keep(Keep::exact, "r", r);
        saved.keep(Keep::exact, "w", in[1]);
        if (relu_) saved.keep("passed", passed);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Planes planes(gy);
        const bool needs_x = saved.has("x"), residual = saved.inputs() == 4 && saved.needs(3);
        const Tensor w = saved.tensor("w"), r = saved.tensor("r");
        const Tensor x = needs_x ? saved.tensor("x") : Tensor();
        const Tensor mean = needs_x ? saved.tensor("mean") : Tensor();
        Tensor gx = saved.needs(0) ? Tensor(gy.shape()) : Tensor();
        Tensor gw = Tensor::zeros(w.shape()), gb = Tensor::zeros(w.shape());
        // What the ReLU lets pass becomes g_s, or lies where g_x will lie.
        Tensor g = !relu_ ? gy : gx.defined() && !residual ? gx : Tensor(gy.shape());
        const std::uint8_t* bits = relu_ ? saved.as<BitMask>("passed").bytes() : nullptr;
        const real n = static_cast<real>(planes.count());
        const bool sums = batch_statistics_ || saved.needs(1) || saved.needs(2);
#pragma omp parallel for schedule(static) if (gy.numel() > parallel_threshold)
        for (std::int64_t c = 0; c < planes.channels; ++c) {
            const real scale = r.data()[c], a = w.data()[c] * scale;
            const real m = needs_x ? mean.data()[c] : 0;
            const real *upstream = g.data(), *from = needs_x ? x.data() : nullptr;
            LaneSum sum_of_g, sum_of_gx;  // Σ g and Σ g (x − μ)
            planes.each_plane(c, [&](std::int64_t begin) {
                const std::int64_t end = begin + planes.pixels;
                if (relu_)
                    select_by_bits(planes.pixels, bits + planes.first_byte(begin), 1,
                                   gy.data() + begin, g.data() + begin);
                if (sums) sum_of_g.add(begin, end, [&](std::int64_t i) { return upstream[i]; });
                if (sums && needs_x)
                    sum_of_gx.add(begin, end,
                                  [&](std::int64_t i) { return upstream[i] * (from[i] - m); });
            });
            const real sum_g = static_cast<real>(sum_of_g.total()),
                       sum_gx = scale * static_cast<real>(sum_of_gx.total());
            gb.data()[c] = sum_g;
            gw.data()[c] = sum_gx;
            if (!gx.defined()) continue;
            const real shift = sum_g / n, slope = scale * sum_gx / n;
            planes.each_plane(c, [&](std::int64_t begin) {
                real* to = gx.data();
                const std::int64_t end = begin + planes.pixels;
                if (batch_statistics_)
#pragma omp simd
                    for (std::int64_t i = begin; i < end; ++i)
                        to[i] = a * (upstream[i] - shift - (from[i] - m) * slope);
                else
#pragma omp simd
                    for (std::int64_t i = begin; i < end; ++i) to[i] = a * upstream[i];
            });
        }
        const std::int64_t flops = (relu_ ? 1 : 0) + (sums ? 1 : 0) + (sums && needs_x ? 3 : 0) +
                                   (gx.defined() ? (batch_statistics_ ? 5 : 1) : 0);
        meter().add(flops * gy.numel());
        std::vector<Grad> grads{gx, saved.needs(1) ? gw : Tensor(), saved.needs(2) ? gb : Tensor()};
        if (saved.inputs() == 4) grads.emplace_back(residual ? g : Tensor());
        return grads;
    }

  private:
    struct Moments {
        double mean, var;
    };
    /// Of channel c: those of the batch, which also move the running ones, or the running ones.
    Moments statistics(const Planes& planes, const Tensor& x, std::int64_t c,
                       RunningStatistics& running) const {
        real &running_mean = running.mean.data()[c], &running_var = running.var.data()[c];
        if (!batch_statistics_)
            return {static_cast<double>(running_mean), static_cast<double>(running_var)};
        const real* from = x.data();
        const double n = static_cast<double>(planes.count());
        const double mean = planes.sum(c, [&](std::int64_t i) { return from[i]; }) / n;
        const real m = static_cast<real>(mean);
        const double var =
            planes.sum(c, [&](std::int64_t i) { return (from[i] - m) * (from[i] - m); }) / n;
        if (running.update) {
            const real unbiased = static_cast<real>(var * n / (n - 1));
            running_mean += running.momentum * (m - running_mean);
            running_var += running.momentum * (unbiased - running_var);
        }
        return {mean, var};
    }

    std::string name_;
    real epsilon_;
    bool batch_statistics_;
    RunningStatistics running_;
    bool relu_;
    real most_;
};

}  // namespace

BatchNorm::BatchNorm(std::int64_t channels, double epsilon, double momentum)
    : epsilon_(epsilon), momentum_(momentum) {
    require(channels > 0, "[batch_norm] expected at least 1 channel, got {}", channels);
    weight_ = Parameter(Tensor::full({channels}, 1));
    bias_ = Parameter(Tensor::zeros({channels}));
    running_mean_ = Tensor::zeros({channels}).mark(Category::parameters);
    running_var_ = Tensor::full({channels}, 1).mark(Category::parameters);
}

Var BatchNorm::apply(const Var& x, const Var* residual, Rectifier rectifier) {
    for (const auto& [what, value] : {std::pair{"a weight", weight_.value},
                                      {"a bias", bias_.value},
                                      {"a running mean", running_mean_},
                                      {"a running variance", running_var_}})
        require_shape(path(), what, value, {channels()});
    require(accepts(x.value().ndim()) && x.size(1) == channels(), "[{}] expected {}, got {}",
            path(), expected(), shown(x.shape()));
    Tape& tape = x.tape();
    const bool batch_statistics = tape.training() && !frozen_;
    require(!batch_statistics || x.value().numel() > channels(),
            "[{}] training needs more than one value for each channel, got {}. Hint: use a larger "
            "batch or evaluation mode",
            path(), shown(x.shape()));
    RunningStatistics running{running_mean_, running_var_, static_cast<real>(momentum_),
                              batch_statistics && tape.options().update_statistics};
    std::vector<Var> inputs{x, tape.parameter(weight_), tape.parameter(bias_)};
    if (residual) {
        require(residual->shape() == x.shape(), "[{}] expected a residual of shape {}, got {}",
                path(), shown(x.shape()), shown(residual->shape()));
        inputs.push_back(*residual);
    }
    return tape.apply(
        std::make_shared<BatchNormFunction>(path(), static_cast<real>(epsilon_), batch_statistics,
                                            std::move(running), rectifier != Rectifier::none,
                                            rectifier == Rectifier::relu6 ? real(6) : unbounded),
        inputs);
}

void BatchNorm::visit(Visitor& visitor) {
    visitor.parameter("weight", weight_);
    visitor.parameter("bias", bias_);
    visitor.buffer("running_mean", running_mean_);
    visitor.buffer("running_var", running_var_);
}

std::string BatchNorm1d::expected() const {
    return fmt::format("(batch, {0}) or (batch, {0}, length)", channels());
}

std::string BatchNorm2d::expected() const {
    return fmt::format("(batch, {}, height, width)", channels());
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
