#include "nn/layer_scale.h"

#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/lane_sum.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// y = γ_c x
//   g_x = γ_c g      g_γ = Σ g x over all but the channel
class LayerScaleFunction final : public Function {
  public:
    explicit LayerScaleFunction(std::string name) : name_(std::move(name)) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        if (saved.needs(1)) saved.keep(Keep::activation, "x", in[0]);
        saved.keep(Keep::exact, "gamma", in[1]);
        return scaled(in[0], in[1]);
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Tensor gamma = saved.tensor("gamma");
        Tensor gx = saved.needs(0) ? scaled(gy, gamma) : Tensor();
        if (!saved.needs(1)) return {gx, Tensor()};
        const Tensor x = saved.tensor("x");
        const std::int64_t channels = gamma.numel(), run = run_of(gy);
        const std::int64_t runs = gy.numel() / (channels * run);
        Tensor ggamma(gamma.shape());
#pragma omp parallel for schedule(static) if (gy.numel() > parallel_threshold)
        for (std::int64_t c = 0; c < channels; ++c) {
            LaneSum sum;
            for (std::int64_t i = 0; i < runs; ++i) {
                const std::int64_t begin = (i * channels + c) * run;
                sum.add(begin, begin + run,
                        [&](std::int64_t j) { return gy.data()[j] * x.data()[j]; });
            }
            ggamma.data()[c] = static_cast<real>(sum.total());
        }
        meter().add(2 * gy.numel());
        return {gx, ggamma};
    }

  private:
    /// How many values of one channel stand side by side.
    static std::int64_t run_of(const Tensor& x) {
        return x.ndim() == 4 ? x.size(2) * x.size(3) : 1;
    }
    static Tensor scaled(const Tensor& x, const Tensor& gamma) {
        Tensor y(x.shape());
        const std::int64_t channels = gamma.numel(), run = run_of(x);
        const std::int64_t rows = x.numel() / std::max<std::int64_t>(channels * run, 1);
#pragma omp parallel for schedule(static) if (x.numel() > parallel_threshold)
        for (std::int64_t row = 0; row < rows; ++row)
            for (std::int64_t c = 0; c < channels; ++c) {
                const std::int64_t begin = (row * channels + c) * run;
                for (std::int64_t i = begin; i < begin + run; ++i)
                    y.data()[i] = gamma.data()[c] * x.data()[i];
            }
        meter().add(x.numel());
        return y;
    }

    std::string name_;
};

}  // namespace

LayerScale::LayerScale(std::int64_t channels, double initial) {
    require(channels > 0, "[layer_scale] expected at least 1 channel, got {}", channels);
    gamma_ = Parameter(Tensor::full({channels}, static_cast<real>(initial)));
}

Var LayerScale::forward(const Var& x) {
    const std::int64_t channels = gamma_.value.numel();
    const bool tokens = x.value().ndim() == 3 && x.size(2) == channels;
    require(tokens || (x.value().ndim() == 4 && x.size(1) == channels),
            "[{}] expected (batch, tokens, {}) or (batch, {}, height, width), got {}", path(),
            channels, channels, shown(x.shape()));
    Tape& tape = x.tape();
    return tape.apply(std::make_shared<LayerScaleFunction>(path()), {x, tape.parameter(gamma_)});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
