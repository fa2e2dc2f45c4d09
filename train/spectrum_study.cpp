#include "train/spectrum_study.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "instant/calibration/projector.h"
#include "nn/linear_map.h"

namespace slimgrad {
namespace {

/// Spectra of one layer, descending: of every sample, and in `all` of all together.
struct Layer {
    std::int64_t tokens = 0, out_channels = 0;
    std::optional<GradientCovariance> all;
    std::vector<std::vector<double>> samples;
};

void see(Layer& layer, const Tensor& gy, Side side) {
    if (!layer.all) {
        layer.tokens = gy.size(1);
        layer.out_channels = gy.size(2);
        layer.all.emplace(side);
    }
    layer.all->add(gy);
    for (std::int64_t b = 0; b < gy.size(0); ++b) {
        GradientCovariance one(side);
        one.add(gy.rows(b, 1));
        layer.samples.push_back(one.modes().sigma);
    }
}

/// The singular values of g, from the eigenvalues of g gᵀ.
std::vector<double> roots(std::vector<double> sigma) {
    for (double& value : sigma) value = std::sqrt(std::max(value, 0.0));
    return sigma;
}

DirectionCounts count(const std::vector<double>& all,
                      const std::vector<std::vector<double>>& samples, double epsilon) {
    DirectionCounts result{.all = truncated_rank(all, {.epsilon = epsilon})};
    for (const std::vector<double>& one : samples) {
        const std::int64_t rank = truncated_rank(one, {.epsilon = epsilon});
        result.sample += static_cast<double>(rank) / static_cast<double>(samples.size());
        result.sample_max = std::max(result.sample_max, rank);
    }
    for (std::size_t i = 0; i < all.size(); ++i)
        result.energy.push_back(kept_share(all, static_cast<std::int64_t>(i) + 1, 2));
    return result;
}

}  // namespace

std::vector<SpectrumRow> spectrum_study(RunProbe& run, const std::vector<double>& epsilon,
                                        const RunStudyOptions& options) {
    std::map<std::string, Layer> layers;
    observe_gradients(
        run.model(),
        [&] {
            for (std::int64_t i = 0; i < options.calibrate_batches; ++i) {
                options.progress(
                    fmt::format("spectra, batch {} of {}", i + 1, options.calibrate_batches));
                run.pass(run.step() + i);
            }
        },
        [&](LinearMap& map, const Tensor& gy, const Tensor&) {
            if (!map.compressible() || gy.size(1) <= 1) return;
            const Side side =
                options.side.value_or(gy.size(1) <= gy.size(2) ? Side::token : Side::channel);
            try {
                see(layers[map.path()], gy, side);
            } catch (const Error& error) {
                fail("{}: {}", map.path(), error.what());
            }
        });

    std::vector<SpectrumRow> rows;
    for (const double share : epsilon)
        for (const LinearMap* map : linear_maps(run.model())) {
            const auto found = layers.find(map->path());
            if (found == layers.end()) continue;
            const Layer& layer = found->second;
            const std::vector<double> sigma = layer.all->modes().sigma;
            std::vector<std::vector<double>> singular;
            for (const std::vector<double>& one : layer.samples) singular.push_back(roots(one));
            rows.push_back({.name = map->path(),
                            .tokens = layer.tokens,
                            .out_channels = layer.out_channels,
                            .side = layer.all->side(),
                            .dim = std::ssize(sigma),
                            .epsilon = share,
                            .eigenvalues = count(sigma, layer.samples, share),
                            .singular_values = count(roots(sigma), singular, share),
                            .samples = layer.all->samples()});
        }
    return rows;
}

}  // namespace slimgrad
