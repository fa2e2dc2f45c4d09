#include <algorithm>
#include <cmath>

#include "instant/lab/fieller.h"
#include "instant/lab/snr.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

void check_gradients(const Tensor& g) {
    require(g.ndim() == 3 && g.numel() > 0,
            "[snr] expected gradients of shape (samples, tokens, channels), got {}",
            shown(g.shape()));
    const auto values = g.values();
    const auto bad = std::ranges::find_if_not(values, [](real v) { return std::isfinite(v); });
    if (bad == values.end()) return;
    fail("[snr] sample {} of the gradients holds the value {}",
         (bad - values.begin()) / (g.numel() / g.size(0)), *bad);
}

void check_axis(Side side, const Tensor& g, std::int64_t n) {
    require(g.size(side == Side::token ? 1 : 2) == n, "[snr] expected {} {}, got gradients of {}",
            n, side == Side::token ? "tokens" : "channels", shown(g.shape()));
}

}  // namespace

void GradientCovariance::add(const Tensor& gradients) {
    check_gradients(gradients);
    const std::int64_t batch = gradients.size(0), tokens = gradients.size(1),
                       channels = gradients.size(2);
    const std::int64_t n = side_ == Side::token ? tokens : channels;
    if (n_ == 0) {
        n_ = n;
        sum_.resize(static_cast<std::size_t>(numel({n, n})));
    }
    check_axis(side_, gradients, n_);
    if (const int shift = scale_.include(gradients); shift != 0)
        for (double& value : sum_) value = std::ldexp(value, shift);
    const Tensor g = scale_.apply(gradients);
    // One product a sample in `real`; the sum over samples, which may be many, in double.
    Tensor c({n, n});
    for (std::int64_t b = 0; b < batch; ++b) {
        const real* sample = g.data() + b * tokens * channels;
        const Matrix plain{sample, channels}, turned{sample, channels, Op::transpose};
        if (side_ == Side::token)
            gemm(n, n, channels, plain, turned, c.data(), n);  // g gᵀ   (L,Cy)·(Cy,L)
        else
            gemm(n, n, tokens, turned, plain, c.data(), n);  // gᵀ g   (Cy,L)·(L,Cy)
        for (std::size_t i = 0; i < sum_.size(); ++i) sum_[i] += c.data()[i];
    }
    samples_ += batch;
}

GradientModes GradientCovariance::modes() const {
    require(samples_ > 0, "[snr] expected gradients, got none");
    Tensor mean({n_, n_});
    std::ranges::transform(sum_, mean.data(), [this](double value) {
        return static_cast<real>(value / static_cast<double>(samples_));
    });
    EigenDecomposition eigen = eigh(mean);
    // What is negative is so by rounding.
    for (double& value : eigen.values)
        value = std::ldexp(std::max(value, 0.0), 2 * scale_.exponent());
    return {side_, eigen.vectors, eigen.values, {}};
}

SnrMeasurement::SnrMeasurement(Side side, Tensor basis, Tensor w)
    : side_(side), basis_(std::move(basis)), w_(std::move(w)) {
    require(basis_.ndim() == 2 && basis_.size(0) == basis_.size(1),
            "[snr] expected a square basis, got {}", shown(basis_.shape()));
    require(w_.ndim() == 2 && (side == Side::token || w_.size(0) == basis_.size(0)),
            "[snr] expected a weight of shape (out_channels, in_channels), got {}",
            shown(w_.shape()));
    require(all_finite(w_), "[snr] the weight holds values that are not finite");
    w_scale_.include(w_);
    w_ = w_scale_.apply(w_);
    moments_.resize(static_cast<std::size_t>(basis_.size(0)) + 1);
    if (side == Side::channel) {  // (U W)(U W)ᵀ   (Cy,Cx)·(Cx,Cy)
        const Tensor uw = matmul(basis_, w_);
        const Tensor overlap = matmul(uw, uw, Op::none, Op::transpose);
        overlap_.assign(overlap.values().begin(), overlap.values().end());
    }
}

void SnrMeasurement::add(const Tensor& g) {
    check_gradients(g);
    check_axis(side_, g, basis_.size(0));
    require(g.size(2) == w_.size(0), "[snr] expected gradients of {} channels, got {}. Hint: {}",
            w_.size(0), shown(g.shape()), "the weight is (out_channels, in_channels)");
    samples_ += g.size(0);
    if (const int shift = scale_.include(g); shift != 0)
        for (Moments& moments : moments_) {
            for (double& sum : moments.sum) sum = std::ldexp(sum, shift);
            for (double& sum : moments.sum_square) sum = std::ldexp(sum, 2 * shift);
        }
    if (side_ == Side::token)
        add_tokens(scale_.apply(g));
    else
        add_channels(scale_.apply(g));
}

// With ĝ = U g, mode i of a sample has the energy ‖ĝ_i W‖², and modes do not overlap.
void SnrMeasurement::add_tokens(const Tensor& g) {
    const std::int64_t n = basis_.size(0), width = w_.size(1);
    const Tensor hat = matmul(matmul(basis_, g), w_);  // (L,L)·(L,Cy)·(Cy,Cx) a sample
    std::vector<double> energy(static_cast<std::size_t>(n));
    for (std::int64_t b = 0; b < g.size(0); ++b) {
        for (std::int64_t i = 0; i < n; ++i) {
            const real* row = hat.data() + (b * n + i) * width;
            double sum = 0;
            for (std::int64_t c = 0; c < width; ++c) sum += static_cast<double>(row[c]) * row[c];
            energy[static_cast<std::size_t>(i)] = sum;
        }
        // dropped[R] = Σ_{i>R}: summed from the small end, never as a difference.
        std::vector<double> dropped(static_cast<std::size_t>(n) + 1);
        for (auto i = static_cast<std::size_t>(n); i-- > 0;)
            dropped[i] = dropped[i + 1] + energy[i];
        double kept = 0;
        for (std::size_t rank = 0; rank <= static_cast<std::size_t>(n); ++rank) {
            take(rank, kept, 0, dropped[rank]);
            if (rank < energy.size()) kept += energy[rank];
        }
    }
}

// With ĝ = g Uᵀ, ‖Σ_{i∈A} ĝ_i (u_iᵀ W)‖² = Σ_{i,j∈A} m_ij, m_ij = (ĝ_iᵀ ĝ_j)(u_iᵀ W Wᵀ u_j).
void SnrMeasurement::add_channels(const Tensor& g) {
    const std::int64_t n = basis_.size(0), tokens = g.size(1);
    const Tensor hat = matmul(g, basis_, Op::none, Op::transpose);  // (B·L,Cy)·(Cy,Cy)
    Tensor gram({n, n});
    std::vector<double> m(static_cast<std::size_t>(n * n)),
        dropped(static_cast<std::size_t>(n) + 1);
    for (std::int64_t b = 0; b < g.size(0); ++b) {
        const real* sample = hat.data() + b * tokens * n;
        gemm(n, n, tokens, {sample, n, Op::transpose}, {sample, n}, gram.data(), n);
        for (std::size_t i = 0; i < m.size(); ++i) m[i] = gram.data()[i] * overlap_[i];
        const auto row_sum = [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
            const double* values = m.data() + row * n;
            double sum = 0;
            for (std::int64_t j = begin; j < end; ++j) sum += values[j];
            return sum;
        };
        // Mode i joins the modes after it, or before it: its own energy and twice the overlap.
        for (std::int64_t i = n; i-- > 0;)
            dropped[static_cast<std::size_t>(i)] = dropped[static_cast<std::size_t>(i) + 1] +
                                                   row_sum(i, i, i + 1) + 2 * row_sum(i, i + 1, n);
        double kept = 0, cross = 0;
        for (std::int64_t rank = 0; rank <= n; ++rank) {
            take(rank, kept, cross, dropped[static_cast<std::size_t>(rank)]);
            if (rank == n) break;
            const double before = row_sum(rank, 0, rank);
            kept += row_sum(rank, rank, rank + 1) + 2 * before;
            cross += row_sum(rank, rank + 1, n) - before;
        }
    }
}

void SnrMeasurement::take(std::int64_t rank, double kept, double cross, double dropped) {
    Moments& moments = moments_[static_cast<std::size_t>(rank)];
    const std::array<double, 3> value{kept, cross, dropped};
    for (std::size_t i = 0; i < 3; ++i) {
        moments.sum[i] += value[i];
        for (std::size_t j = 0; j < 3; ++j) moments.sum_square[3 * i + j] += value[i] * value[j];
    }
}

std::vector<double> SnrMeasurement::weighted() const {
    require(samples_ > 0, "[snr] expected gradients, got none");
    std::vector<double> w;
    const int exponent = 2 * (scale_.exponent() + w_scale_.exponent());
    // E‖Π_{i} g W‖² is what mode i adds to the kept energy, on either side: overlaps have mean 0
    // in the eigenbasis.
    for (std::size_t i = 0; i + 1 < moments_.size(); ++i)
        w.push_back(std::ldexp(
            (moments_[i + 1].sum[0] - moments_[i].sum[0]) / static_cast<double>(samples_),
            exponent));
    return w;
}

SnrMeasured SnrMeasurement::at(std::int64_t rank, double alpha, double confidence) const {
    require(samples_ > 0, "[snr] expected gradients, got none");
    require(rank >= 0 && rank < std::ssize(moments_), "[snr] expected 0 <= rank <= {}, got {}",
            moments_.size() - 1, rank);
    const Moments& moments = moments_[static_cast<std::size_t>(rank)];
    const auto n = static_cast<double>(samples_);
    // Signal and noise of a sample are linear in (kept, cross, dropped).
    const std::array<double, 3> signal{alpha * alpha, 0, 0};
    const std::array<double, 3> noise{(1 - alpha) * (1 - alpha), 2 * (1 - alpha), 1};
    const auto mean = [&](const std::array<double, 3>& a) {
        double sum = 0;
        for (std::size_t i = 0; i < 3; ++i) sum += a[i] * moments.sum[i] / n;
        return sum;
    };
    const auto covariance = [&](const std::array<double, 3>& a, const std::array<double, 3>& b) {
        double sum = 0;
        for (std::size_t i = 0; i < 3; ++i)
            for (std::size_t j = 0; j < 3; ++j)
                sum += a[i] * b[j] * moments.sum_square[3 * i + j] / n;
        return sum - mean(a) * mean(b);
    };

    const double s = mean(signal), v = mean(noise);
    SnrMeasured result{s / v, s / v, s / v, samples_};
    if (!(s > 0 && v > 0)) return result;
    const double unbiased = n / std::max(n - 1, 1.0);
    const Interval interval = fieller({.s = s,
                                       .v = v,
                                       .var_s = unbiased * covariance(signal, signal),
                                       .var_v = unbiased * covariance(noise, noise),
                                       .cov = unbiased * covariance(signal, noise),
                                       .n = samples_},
                                      confidence);
    result.low = interval.low;
    result.high = interval.high;
    return result;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
