#include "nn/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/lane_sum.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
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
    /// Σ f(i) over the values of channel c: planes in `real`, their sums in double.
    template <class F>
    double sum(std::int64_t c, F f) const {
        double total = 0;
        for (std::int64_t b = 0; b < batch; ++b)
            total += static_cast<double>(lane_sum(offset(b, c), offset(b, c) + pixels, f));
        return total;
    }
    /// Calls f(i) for each value of channel c.
    template <class F>
    void each(std::int64_t c, F f) const {
        for (std::int64_t b = 0; b < batch; ++b) {
            const std::int64_t begin = offset(b, c), end = begin + pixels;
#pragma omp simd
            for (std::int64_t i = begin; i < end; ++i) f(i);
        }
    }
};

struct RunningStatistics {
    Tensor mean, var;  // share their values with the layer
    real momentum;
    bool update;
};

// y = γ x̂ + β, x̂ = (x − μ) r, r = 1 / √(v + ε), for each channel of n values
//   g_β = Σ g      g_γ = Σ g x̂
//   g_x = γ r (g − g_β / n − x̂ g_γ / n)   if μ and v are those of the batch, else γ r g
// What is kept is x itself, which the layer below has made anyway, with μ and r: keeping x̂ would
// cost as many bytes and one more pass over memory to write it.
class BatchNormFunction final : public Function {
  public:
    BatchNormFunction(std::string name, real epsilon, bool batch_statistics,
                      RunningStatistics running)
        : name_(std::move(name)),
          epsilon_(epsilon),
          batch_statistics_(batch_statistics),
          running_(std::move(running)) {}

    std::string name() const override { return name_; }

    // inputs: x (B, C, ...), γ (C,), β (C,)
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        const Tensor& x = in[0];
        const Planes planes(x);
        Tensor y(x.shape()), mean({planes.channels}), r({planes.channels});
        const real *from = x.data(), *weight = in[1].data(), *bias = in[2].data();
        real *to = y.data(), *mu = mean.data(), *scale = r.data();
        const double n = static_cast<double>(planes.count());
        RunningStatistics running = running_;
        real *running_mean = running.mean.data(), *running_var = running.var.data();
        // A channel belongs to one thread, and its planes stay in that thread's cache between the
        // passes.
#pragma omp parallel for schedule(static) if (x.numel() > parallel_threshold)
        for (std::int64_t c = 0; c < planes.channels; ++c) {
            double var = static_cast<double>(running_var[c]);
            mu[c] = running_mean[c];
            if (batch_statistics_) {
                const double average = planes.sum(c, [&](std::int64_t i) { return from[i]; }) / n;
                const real m = mu[c] = static_cast<real>(average);
                var = planes.sum(c, [&](std::int64_t i) { return (from[i] - m) * (from[i] - m); }) /
                      n;
                if (running.update) {
                    const real unbiased = static_cast<real>(var * n / (n - 1));
                    running_mean[c] += running.momentum * (m - running_mean[c]);
                    running_var[c] += running.momentum * (unbiased - running_var[c]);
                }
            }
            scale[c] = static_cast<real>(1 / std::sqrt(var + static_cast<double>(epsilon_)));
            const real a = weight[c] * scale[c], shift = bias[c], m = mu[c];
            planes.each(c, [&](std::int64_t i) { to[i] = (from[i] - m) * a + shift; });
        }
        meter().add((batch_statistics_ ? 7 : 3) * x.numel());  // Σx, Σ(x−μ)², (x−μ)·a + β

        const bool needs_x = saved.needs(1) || (saved.needs(0) && batch_statistics_);
        if (needs_x) saved.keep(Keep::activation, "x", x);
        if (needs_x) saved.keep(Keep::exact, "mean", mean);
        saved.keep(Keep::exact, "r", r);
        saved.keep(Keep::exact, "w", in[1]);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Planes planes(gy);
        const bool needs_x = saved.has("x");
        const Tensor w = saved.tensor("w"), r = saved.tensor("r");
        const Tensor x = needs_x ? saved.tensor("x") : Tensor();
        const Tensor mean = needs_x ? saved.tensor("mean") : Tensor();
        Tensor gx = saved.needs(0) ? Tensor(gy.shape()) : Tensor();
        Tensor gw = Tensor::zeros(w.shape()), gb = Tensor::zeros(w.shape());
        const real *g = gy.data(), *from = needs_x ? x.data() : nullptr;
        const real n = static_cast<real>(planes.count());
        const bool sums = batch_statistics_ || saved.needs(1) || saved.needs(2);
#pragma omp parallel for schedule(static) if (gy.numel() > parallel_threshold)
        for (std::int64_t c = 0; c < planes.channels; ++c) {
            const real scale = r.data()[c], a = w.data()[c] * scale;
            const real m = needs_x ? mean.data()[c] : 0;
            real sum_g = 0, sum_gx = 0;  // Σ g and Σ g x̂
            if (sums) {
                sum_g = static_cast<real>(planes.sum(c, [&](std::int64_t i) { return g[i]; }));
                if (needs_x)
                    sum_gx = scale * static_cast<real>(planes.sum(
                                         c, [&](std::int64_t i) { return g[i] * (from[i] - m); }));
            }
            gb.data()[c] = sum_g;
            gw.data()[c] = sum_gx;
            if (!gx.defined()) continue;
            real* to = gx.data();
            if (batch_statistics_) {
                const real shift = sum_g / n, slope = scale * sum_gx / n;
                planes.each(
                    c, [&](std::int64_t i) { to[i] = a * (g[i] - shift - (from[i] - m) * slope); });
            } else {
                planes.each(c, [&](std::int64_t i) { to[i] = a * g[i]; });
            }
        }
        const std::int64_t flops = (sums ? 1 : 0) + (sums && needs_x ? 3 : 0) +
                                   (gx.defined() ? (batch_statistics_ ? 5 : 1) : 0);
        meter().add(flops * gy.numel());
        return {gx, saved.needs(1) ? gw : Tensor(), saved.needs(2) ? gb : Tensor()};
    }

  private:
    std::string name_;
    real epsilon_;
    bool batch_statistics_;
    RunningStatistics running_;
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

Var BatchNorm::forward(const Var& x) {
    require(accepts(x.value().ndim()) && x.size(1) == channels(), "[{}] expected {}, got {}",
            path(), expected(), to_string(x.shape()));
    Tape& tape = x.tape();
    require(!tape.training() || x.value().numel() > channels(),
            "[{}] training needs more than one value for each channel, got {}. Hint: use a larger "
            "batch or evaluation mode",
            path(), to_string(x.shape()));
    RunningStatistics running{running_mean_, running_var_, static_cast<real>(momentum_),
                              tape.training() && tape.options().update_statistics};
    return tape.apply(std::make_shared<BatchNormFunction>(path(), static_cast<real>(epsilon_),
                                                          tape.training(), std::move(running)),
                      {x, tape.parameter(weight_), tape.parameter(bias_)});
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

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
