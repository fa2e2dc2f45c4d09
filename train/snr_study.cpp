#include "train/snr_study.h"

#include <algorithm>
#include <map>

#include "nn/linear_map.h"

namespace slimgrad {
namespace {

/// What is accumulated of one layer while batches run.
struct Layer {
    std::int64_t tokens = 0, in_channels = 0, out_channels = 0;
    std::optional<GradientCovariance> covariance;
    GradientModes modes;
    std::optional<SnrMeasurement> measurement;
};
using Layers = std::map<std::string, Layer>;

/// Runs `count` batches from step `first` and shows the gradients of the layers that a method would
/// compress.
template <class See>
void watch(RunProbe& run, std::int64_t first, std::int64_t count, const RunStudyOptions& options,
           const char* what, See see) {
    observe_gradients(
        run.model(),
        [&] {
            for (std::int64_t i = 0; i < count; ++i) {
                options.progress(fmt::format("{}, batch {} of {}", what, i + 1, count));
                run.pass(first + i);
            }
        },
        [&](LinearMap& layer, const Tensor& gy, const Tensor& w) {
            if (layer.compressible() && gy.size(1) > 1) see(layer.path(), gy, w);
        });
}

/// C of every layer over the calibration batches from step `first`, then w_i over the same.
Layers calibrated(RunProbe& run, std::int64_t first, const RunStudyOptions& options) {
    Layers layers;
    watch(run, first, options.calibrate_batches, options, "covariances",
          [&](const std::string& name, const Tensor& gy, const Tensor& w) {
              Layer& layer = layers[name];
              if (!layer.covariance) {
                  layer.tokens = gy.size(1);
                  layer.out_channels = w.size(0);
                  layer.in_channels = w.size(1);
                  layer.covariance.emplace(options.side.value_or(
                      layer.tokens <= layer.out_channels ? Side::token : Side::channel));
              }
              try {
                  layer.covariance->add(gy);
              } catch (const Error& error) {
                  fail("{}: {}", name, error.what());
              }
          });
    for (auto& [name, layer] : layers) layer.modes = layer.covariance->modes();
    return layers;
}

void measure(RunProbe& run, std::int64_t first, std::int64_t count, const RunStudyOptions& options,
             const char* what, Layers& layers) {
    for (auto& [name, layer] : layers) layer.measurement.reset();
    watch(run, first, count, options, what,
          [&](const std::string& name, const Tensor& gy, const Tensor& w) {
              Layer& layer = layers.at(name);
              if (!layer.measurement)
                  layer.measurement.emplace(layer.modes.side, layer.modes.basis, w.clone());
              layer.measurement->add(gy);
          });
}

/// In the order in which the model holds them.
std::vector<std::string> ordered(Module& model, const Layers& layers) {
    std::vector<std::string> names;
    for (const LinearMap* layer : linear_maps(model))
        if (layers.contains(layer->path())) names.push_back(layer->path());
    return names;
}

void merge(std::vector<LayerError>& all, const std::vector<LayerError>& more) {
    if (all.empty()) {
        all = more;
        return;
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        all[i].gx.add(more[i].gx);
        all[i].gw.add(more[i].gw);
    }
}

}  // namespace

void calibrate(RunProbe& run, Calibrator& calibrator, const RunStudyOptions& options) {
    calibrator.calibrate([&] {
        for (std::int64_t i = 0; i < options.calibrate_batches; ++i) {
            options.progress(
                fmt::format("projectors, batch {} of {}", i + 1, options.calibrate_batches));
            run.pass(run.step() + i);
            zero_grad(run.model());
        }
    });
}

SnrRow snr_row(const SnrSubject& subject, const SnrOptions& options) {
    SnrRow row{&subject, options, snr_theory(subject.modes, options), {}};
    row.measured = subject.measurement.at(row.theory.rank, row.theory.alpha, options.confidence);
    return row;
}

SnrSubject snr_subject(const SnrSource& source, Side side, std::int64_t samples,
                       std::uint64_t draw) {
    const SnrSourceOptions& o = source.options();
    const GradientModes modes = source.modes(side);
    SnrSubject subject{o.separable ? "separable" : "non-separable",
                       o.seed,
                       o.tokens,
                       o.in_channels,
                       o.out_channels,
                       0,
                       modes,
                       SnrMeasurement(side, modes.basis, source.weight())};
    constexpr std::int64_t block = 4096;  // bounds the memory
    for (std::int64_t first = 0; first < samples; first += block)
        subject.measurement.add(source.draw(first, std::min(block, samples - first), draw));
    return subject;
}

SnrSubject snr_subject(const std::string& name, const Tensor& g, const Tensor& w, Side side) {
    GradientCovariance covariance(side);
    covariance.add(g);
    const GradientModes modes = covariance.modes();
    SnrSubject subject{name,      0,         g.size(1), w.size(-1),
                       g.size(2), g.size(0), modes,     SnrMeasurement(side, modes.basis, w)};
    subject.measurement.add(g);
    subject.modes.weighted = subject.measurement.weighted();
    return subject;
}

std::vector<SnrSubject> snr_subjects(RunProbe& run, const RunStudyOptions& options) {
    Layers layers = calibrated(run, run.step(), options);
    measure(run, run.step(), options.calibrate_batches, options, "exact", layers);
    for (auto& [name, layer] : layers) layer.modes.weighted = layer.measurement->weighted();
    measure(run, run.step() + options.calibrate_batches, options.batches, options, "measured",
            layers);
    std::vector<SnrSubject> subjects;
    for (const std::string& name : ordered(run.model(), layers)) {
        const Layer& layer = layers.at(name);
        subjects.push_back({name, run.config().seed, layer.tokens, layer.in_channels,
                            layer.out_channels, layer.covariance->samples(), layer.modes,
                            *layer.measurement});
    }
    return subjects;
}

ErrorStudy error_study(RunProbe& run, const MethodOptions& method, const RunStudyOptions& options) {
    Calibrator calibrator(run.model(), method);
    calibrate(run, calibrator, options);
    ErrorStudy study;
    for (std::int64_t i = 0; i < options.batches; ++i) {
        options.progress(fmt::format("errors, batch {} of {}", i + 1, options.batches));
        const auto batch = [&] { run.pass(run.step() + options.calibrate_batches + i); };
        merge(study.local, local_errors(run.model(), batch));
        merge(study.accumulated, accumulated_errors(run.model(), batch));
    }
    return study;
}

std::vector<StalenessRow> staleness_study(RunProbe& run, MethodOptions method,
                                          const SnrOptions& options,
                                          const std::vector<std::int64_t>& at, double lr,
                                          const RunStudyOptions& study) {
    require(!at.empty() && std::ranges::is_sorted(at) && at.front() >= 0,
            "[snr] expected steps since calibration in ascending order");
    run.rewind();
    method.oversample = options.oversample;
    method.epsilon = options.epsilon;
    Calibrator calibrator(run.model(), method);
    calibrate(run, calibrator, study);
    Layers stale = calibrated(run, run.step(), study);
    // Batches that no step below trains on; the same for every number of steps.
    const std::int64_t calibration = run.step() + at.back();
    const std::int64_t fresh_batches = calibration + study.calibrate_batches;

    std::vector<StalenessRow> rows;
    std::int64_t done = 0;
    for (const std::int64_t steps : at) {
        for (; done < steps; ++done) {
            study.progress(fmt::format("p = {}, training step {}", options.oversample, done + 1));
            run.train(run.step() + done, lr);
        }
        measure(run, fresh_batches, study.batches, study, "stale", stale);
        // At step 0 both are calibrated on the same batches.
        Layers fresh = calibrated(run, steps == 0 ? run.step() : calibration, study);
        measure(run, fresh_batches, study.batches, study, "fresh", fresh);
        for (const std::string& name : ordered(run.model(), stale)) {
            StalenessRow row{steps, options.oversample, name, 0, {}, {}};
            const auto at_rank = [&](Layer& layer) {
                layer.modes.weighted = layer.measurement->weighted();
                const SnrTheory theory = snr_theory(layer.modes, options);
                row.rank = theory.rank;
                return layer.measurement->at(theory.rank, theory.alpha, options.confidence);
            };
            row.fresh = at_rank(fresh.at(name));
            row.stale = at_rank(stale.at(name));
            rows.push_back(row);
        }
    }
    run.rewind();
    return rows;
}

}  // namespace slimgrad
