#include "instant/lab/snr_source.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "instant/calibration/projector.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// A random rotation: the eigenvectors of a random symmetric matrix.
Tensor rotation(std::int64_t n, std::uint64_t seed, const char* purpose) {
    Stream stream(seed, purpose);
    const Tensor a = normal({n, n}, 0, 1, stream);
    return eigh(a + transpose(a, {1, 0})).vectors;
}

void check(const SnrSourceOptions& o) {
    require(o.tokens >= 2 && o.out_channels >= 2 && o.in_channels >= o.out_channels,
            "[snr] expected tokens and out_channels of at least 2 and in_channels >= out_channels, "
            "got {}, {} and {}",
            o.tokens, o.out_channels, o.in_channels);
    require(o.decay > 0 && o.decay <= 1, "[snr] expected 0 < decay <= 1, got {}", o.decay);
    require(std::isfinite(o.contrast) && o.contrast > 0, "[snr] expected contrast > 0, got {}",
            o.contrast);
    require(o.cut >= 0 && o.cut < o.tokens, "[snr] expected 0 <= cut < {}, got {}", o.tokens,
            o.cut);
}

}  // namespace

SnrSource::SnrSource(SnrSourceOptions options) : options_(options) {
    check(options_);
    for (std::int64_t i = 0; i < options_.tokens; ++i)
        sigma_.push_back(std::pow(options_.decay, static_cast<double>(i)));
    if (options_.cut == 0)
        options_.cut = std::min(truncated_rank(sigma_, {.epsilon = 0.95}), options_.tokens - 1);
    // Singular values of W: two levels where modes choose between them, a slope where they do not.
    const std::int64_t channels = options_.out_channels;
    for (std::int64_t c = 0; c < channels; ++c)
        d_.push_back(options_.separable ? 2 / (1 + 0.5 * static_cast<double>(c))
                     : c < channels / 2 ? 1
                                        : std::sqrt(options_.contrast));
    u_ = rotation(options_.tokens, options_.seed, "snr u");
    v_ = rotation(channels, options_.seed, "snr v");
    const Tensor r = rotation(options_.in_channels, options_.seed, "snr r").rows(0, channels);
    Tensor scaled = r.clone();  // diag(d) R
    for (std::int64_t c = 0; c < channels; ++c) {
        Tensor row = scaled.rows(c, 1);
        scale_in_place(row, static_cast<real>(d_[static_cast<std::size_t>(c)]));
    }
    w_ = matmul(v_, scaled, Op::transpose, Op::none);  // Vᵀ diag(d) R   (Cy,Cy)·(Cy,Cx)
}

// Separable: energies that fall with c, the same for every mode, so columns are not isotropic.
double SnrSource::share(std::int64_t mode, std::int64_t channel) const {
    const std::int64_t channels = options_.out_channels, half = channels / 2;
    if (options_.separable) {
        double sum = 0;
        for (std::int64_t c = 0; c < channels; ++c) sum += 1 / static_cast<double>(1 + c);
        return 1 / (sum * static_cast<double>(1 + channel));
    }
    const bool small = mode < options_.cut;
    if (small != (channel < half)) return 0;
    return 1 / static_cast<double>(small ? half : channels - half);
}

GradientModes SnrSource::modes(Side side) const {
    const auto tokens = options_.tokens, channels = options_.out_channels;
    const auto at = [](const std::vector<double>& values, std::int64_t i) {
        return values[static_cast<std::size_t>(i)];
    };
    GradientModes modes;
    modes.side = side;
    if (side == Side::token) {
        modes.basis = u_.clone();
        modes.sigma = sigma_;
        for (std::int64_t i = 0; i < tokens; ++i) {
            double weight = 0;  // tr(Wᵀ V Λ_i Vᵀ W)
            for (std::int64_t c = 0; c < channels; ++c)
                weight += share(i, c) * at(d_, c) * at(d_, c);
            modes.weighted.push_back(at(sigma_, i) * weight);
        }
        return modes;
    }
    std::vector<double> energy(static_cast<std::size_t>(channels));  // of channel direction c
    for (std::int64_t c = 0; c < channels; ++c)
        for (std::int64_t i = 0; i < tokens; ++i)
            energy[static_cast<std::size_t>(c)] += at(sigma_, i) * share(i, c);
    std::vector<std::int64_t> order(static_cast<std::size_t>(channels));
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, std::greater{}, [&](std::int64_t c) { return at(energy, c); });
    std::vector<Tensor> rows;
    for (const std::int64_t c : order) {
        rows.push_back(v_.rows(c, 1));
        modes.sigma.push_back(at(energy, c));
        modes.weighted.push_back(at(energy, c) * at(d_, c) * at(d_, c));
    }
    modes.basis = concat(rows, 0);
    return modes;
}

Tensor SnrSource::draw(std::int64_t first, std::int64_t count, std::uint64_t draw) const {
    // The stream counts samples in 32 bits: beyond them they would begin anew.
    constexpr std::int64_t most = std::int64_t{1} << 32;
    require(first >= 0 && count >= 0 && first <= most && count <= most - first,
            "[snr] expected samples from 0 to {}, got {} from {}", most, count, first);
    const std::int64_t tokens = options_.tokens, channels = options_.out_channels;
    std::vector<real> scale;  // √(σ_i Λ_i,c)
    for (std::int64_t i = 0; i < tokens; ++i)
        for (std::int64_t c = 0; c < channels; ++c)
            scale.push_back(
                static_cast<real>(std::sqrt(sigma_[static_cast<std::size_t>(i)] * share(i, c))));
    Tensor z({count, tokens, channels});
    const std::int64_t size = tokens * channels;
#pragma omp parallel for
    for (std::int64_t b = 0; b < count; ++b) {
        Stream stream(options_.seed, "snr sample", draw, static_cast<std::uint32_t>(first + b));
        real* sample = z.data() + b * size;
        for (std::int64_t i = 0; i < size; ++i)
            sample[i] = scale[static_cast<std::size_t>(i)] * stream.normal();
    }
    // Uᵀ z V   (L,L)·(L,Cy)·(Cy,Cy) a sample
    return matmul(matmul(u_, z, Op::transpose, Op::none), v_);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
