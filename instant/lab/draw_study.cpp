#include "instant/lab/draw_study.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "instant/lab/fieller.h"
#include "instant/lab/snr.h"
#include "instant/methods/options.h"
#include "tensor/error.h"
#include "tensor/kernels/lane_sum.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

void DrawErrors::add(const std::vector<Tensor>& draws, const Tensor& exact) {
    const std::size_t count = draws.size();
    require(count > 0 && (empty() || count == count_),
            "[draws] expected as many draws as before, {}, got {}", count_, count);
    count_ = count;
    products_.resize(count * count);
    const std::int64_t size = exact.numel();
    std::vector<Tensor> errors;
    for (const Tensor& draw : draws) errors.push_back(draw - exact);
    for (std::size_t j = 0; j < count; ++j)
        for (std::size_t k = 0; k <= j; ++k) {
            const double product = dot_in_double(errors[j].data(), errors[k].data(), size);
            products_[j * count + k] += product;
            if (j != k) products_[k * count + j] += product;
        }
    energy_ += dot_in_double(exact.data(), exact.data(), size);
}

DrawErrors::Shares DrawErrors::shares_without(std::size_t left_out) const {
    double same = 0, pairs = 0, draws = 0;
    for (std::size_t j = 0; j < count_; ++j) {
        if (j == left_out) continue;
        ++draws;
        for (std::size_t k = 0; k < count_; ++k)
            if (k != left_out) (j == k ? same : pairs) += products_[j * count_ + k];
    }
    const double error = same / draws;
    // Of one draw nothing is known but its error, which is then taken for the bias.
    const double bias = draws > 1 ? pairs / (draws * (draws - 1)) : error;
    return {error / energy_, bias / energy_};
}

template <class F>
Estimate DrawErrors::jackknife(F of, double confidence) const {
    Estimate estimate{of(shares_without(count_))};
    if (count_ < 3) return estimate;
    const auto n = static_cast<double>(count_);
    double mean = 0, squares = 0;
    for (std::size_t k = 0; k < count_; ++k) mean += of(shares_without(k)) / n;
    for (std::size_t k = 0; k < count_; ++k) squares += std::pow(of(shares_without(k)) - mean, 2);
    estimate.margin = student_quantile(confidence, static_cast<std::int64_t>(count_) - 1) *
                      std::sqrt(squares * (n - 1) / n);
    return estimate;
}

Estimate DrawErrors::error(double confidence) const {
    return jackknife([](const Shares& s) { return s.error; }, confidence);
}
Estimate DrawErrors::bias(double confidence) const {
    return jackknife([](const Shares& s) { return s.bias; }, confidence);
}
Estimate DrawErrors::variance(double confidence) const {
    return jackknife([](const Shares& s) { return s.error - s.bias; }, confidence);
}

namespace {

/// Adds what one gradient is in each draw; of a gradient that no draw changes, one.
void add_draws(DrawErrors& errors, const std::vector<Tensor>& draws, const Tensor& exact) {
    if (!exact.defined()) return;
    const bool drawn = draws.size() > 1 && !identical(draws[0], draws[1]);
    errors.add(drawn ? draws : std::vector<Tensor>{draws[0]}, exact);
}

}  // namespace

std::vector<LayerDraws> draw_errors(Module& model, const std::function<void()>& run,
                                    std::int64_t draws, const Codec* codec) {
    require(draws >= 1, "[draws] expected at least one draw, got {}", draws);
    std::vector<LayerDraws> all;
    std::map<std::string, std::size_t> index;
    for (LinearMap* layer : linear_maps(model)) {
        index[layer->path()] = all.size();
        all.push_back({layer->path(), {}, {}});
    }
    watch_exact_backward(model, run, [&](const ExactBackward& exact) {
        std::vector<Tensor> gx, gw;
        LinearCall call = exact.call;
        for (std::int64_t k = 0; k < draws; ++k, ++call.seed) {
            const LinearGrads grads = made_by(exact.own, exact, call, codec);
            gx.push_back(grads.gx);
            gw.push_back(grads.gw.defined() ? grads.gw.dense() : Tensor());
        }
        LayerDraws& errors = all[index.at(exact.layer.path())];
        const Grad& of_w = exact.grads.gw;
        add_draws(errors.gx, gx, exact.grads.gx);
        add_draws(errors.gw, gw, of_w.defined() ? of_w.dense() : Tensor());
    });
    return all;
}

void OptimalRule::save(const LinearInput& x, Saved& saved, const LinearCall& call) const {
    ExactRule::instance()->save(x, saved, call);
}

LinearGrads OptimalRule::backward(const LinearGradient& gy, const Saved& saved,
                                  const LinearCall& call) const {
    const Tensor& g = gy.matrix();
    const std::int64_t tokens = g.size(1), channels = g.size(2);
    const Side side = chosen_side(side_, tokens, channels);
    Tensor truncated(g.shape());
    for (std::int64_t b = 0; b < g.size(0); ++b) {
        GradientCovariance covariance(side);
        covariance.add(g.rows(b, 1));
        const Tensor basis = covariance.modes().basis;
        const Tensor u = basis.rows(0, std::min(rank_, basis.size(0)));
        const Tensor sample = g.rows(b, 1).reshape({tokens, channels});
        const Tensor part = side == Side::token
                                ? matmul(u, matmul(u, sample), Op::transpose, Op::none)
                                : matmul(matmul(sample, u, Op::none, Op::transpose), u);
        Tensor place = truncated.rows(b, 1);
        place.copy_from(part.reshape({1, tokens, channels}));
    }
    return ExactRule::instance()->backward({call.op, call.op->y_of(truncated)}, saved, call);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
