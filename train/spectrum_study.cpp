#include "train/spectrum_study.h"

#include <algorithm>
#include <map>

#include "instant/projector.h"
#include "instant/trace.h"

namespace slimgrad {
namespace {

struct Layer {
    std::int64_t tokens = 0, out_channels = 0;
    std::optional<GradientCovariance> all;
    std::vector<std::vector<std::int64_t>> sample_ranks;  // for each ε, one a sample
};

/// σ² relative to their sum, added up.
std::vector<double> cumulative_energy(const std::vector<double>& sigma) {
    std::vector<double> energy(sigma.size());
    for (std::size_t i = 0; i < sigma.size(); ++i)
        energy[i] = kept_share(sigma, static_cast<std::int64_t>(i) + 1, 2);
    return energy;
}

void see(Layer& layer, const Tensor& gy, Side side, const std::vector<double>& epsilon) {
    if (!layer.all) {
        layer.tokens = gy.size(1);
        layer.out_channels = gy.size(2);
        layer.all.emplace(side);
        layer.sample_ranks.resize(epsilon.size());
    }
    layer.all->add(gy);
    for (std::int64_t b = 0; b < gy.size(0); ++b) {
        GradientCovariance one(side);
        one.add(gy.rows(b, 1));
        const std::vector<double> sigma = one.modes().sigma;
        for (std::size_t i = 0; i < epsilon.size(); ++i)
            layer.sample_ranks[i].push_back(truncated_rank(sigma, {.epsilon = epsilon[i]}));
    }
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
                see(layers[map.path()], gy, side, epsilon);
            } catch (const Error& error) {
                fail("{}: {}", map.path(), error.what());
            }
        });

    std::vector<SpectrumRow> rows;
    for (std::size_t i = 0; i < epsilon.size(); ++i)
        for (const LinearMap* map : linear_maps(run.model())) {
            const auto found = layers.find(map->path());
            if (found == layers.end()) continue;
            const Layer& layer = found->second;
            const std::vector<double> sigma = layer.all->modes().sigma;
            const std::vector<std::int64_t>& ranks = layer.sample_ranks[i];
            double sum = 0;
            for (const std::int64_t rank : ranks) sum += static_cast<double>(rank);
            rows.push_back({.name = map->path(),
                            .tokens = layer.tokens,
                            .out_channels = layer.out_channels,
                            .side = layer.all->side(),
                            .dim = std::ssize(sigma),
                            .epsilon = epsilon[i],
                            .rank = truncated_rank(sigma, {.epsilon = epsilon[i]}),
                            .sample_rank = sum / static_cast<double>(ranks.size()),
                            .sample_rank_max = std::ranges::max(ranks),
                            .energy = cumulative_energy(sigma),
                            .samples = layer.all->samples()});
        }
    return rows;
}

}  // namespace slimgrad
