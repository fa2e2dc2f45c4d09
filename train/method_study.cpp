#include "train/method_study.h"

#include <algorithm>
#include <map>

#include "instant/cost/cost_model.h"
#include "train/method_spec.h"

namespace slimgrad {
namespace {

/// One method at one rank.
struct Choice {
    std::string spec;
    std::optional<std::int64_t> rank;
    MethodOptions options;
};

std::vector<Choice> choices(const RunProbe& run, const MethodStudyOptions& options) {
    TrainConfig base = run.config();
    if (options.study.side != base.side_of_g()) {  // it is asked for
        base.side = options.study.side ? to_string(*options.study.side) : "auto";
        base.side_x = base.side_g = "";
    }
    std::vector<Choice> all;
    for (const std::string& spec : options.methods) {
        const MethodRun asked = with_method(base, spec);
        MethodOptions method = asked.config.method_options();
        method.batch = run.batch_size();
        const Method& entry = find_method(method.method);
        require(!entry.adapt && (entry.rule || entry.tape || method.method == "vanilla"),
                "[snr] '{}' changes the model or the optimizer: its layers make no other gradients",
                method.method);
        const auto gives = [&](std::initializer_list<const char*> names) {
            return std::ranges::any_of(names, [&](const char* name) {
                return std::ranges::find(asked.given, name) != asked.given.end();
            });
        };
        require(!gives({"tolerance", "budget"}),
                "[snr] '{}' chooses ranks of its own. Hint: without it; --rank says which", spec);
        // A rank of one slot does not fix that of a method which has one of its own.
        const bool own =
            std::ranges::find(entry.options, "rank", &Option::name) != entry.options.end();
        const bool fixed = gives({"rank", "ratio"}) || (!own && gives({"rank_x", "rank_g"}));
        for (const std::int64_t rank : options.ranks) {
            const bool ranked = !fixed && set_rank(method, rank);
            validate(method);
            all.push_back({spec, ranked ? std::optional(rank) : std::nullopt, method});
            if (!ranked) break;
        }
    }
    return all;
}

/// The batches after those of the calibration.
std::function<void()> fresh_batches(RunProbe& run, const RunStudyOptions& options,
                                    const std::string& what) {
    return [&run, &options, what] {
        for (std::int64_t i = 0; i < options.batches; ++i) {
            options.progress(fmt::format("{}, batch {} of {}", what, i + 1, options.batches));
            run.pass(run.step() + options.calibrate_batches + i);
        }
    };
}

void study_range_finders(RunProbe& run, const MethodStudyOptions& options, MethodStudy& study) {
    std::map<std::string, RangeFinderStudy> found;
    watch_exact_backward(
        run.model(), fresh_batches(run, options.study, "singular values"),
        [&](const ExactBackward& exact) {
            const Tensor& g = exact.gy.matrix();
            if (!exact.layer.compressible() || g.size(1) <= 1 || !exact.call.needs.gx) return;
            const Side side =
                options.study.side.value_or(g.size(1) <= g.size(2) ? Side::token : Side::channel);
            found.try_emplace(exact.layer.path(), side, options.ranks, options.draws)
                .first->second.add(g, exact.call.seed, exact.call.step);
        });
    constexpr double rounding = 1e-5;  // of autocorrelations in single precision
    for (const LinearMap* layer : linear_maps(run.model()))
        if (const auto of_layer = found.find(layer->path()); of_layer != found.end()) {
            if (of_layer->second.beyond_the_first() > rounding)
                study.layers.push_back({layer->path(), of_layer->second.losses()});
            else
                study.rank_one.push_back(layer->path());
        }
}

/// Only the layers of the study.
std::vector<LayerDraws> errors(RunProbe& run, const MethodStudyOptions& options,
                               const MethodStudy& study, const std::string& what,
                               const Codec* codec = nullptr) {
    std::vector<LayerDraws> all =
        draw_errors(run.model(), fresh_batches(run, options.study, what), options.draws, codec);
    std::erase_if(all, [&](const LayerDraws& layer) {
        return std::ranges::find(study.layers, layer.name, &MethodStudy::Layer::name) ==
               study.layers.end();
    });
    return all;
}

}  // namespace

MethodStudy method_study(RunProbe& run, const MethodStudyOptions& options) {
    const std::vector<Choice> all = choices(run, options);  // fails early
    MethodStudy study;
    run.rewind();
    study_range_finders(run, options, study);
    require(!study.layers.empty(),
            "[snr] model {} has no layer with a token axis whose gradients have several directions",
            run.config().model);
    const std::vector<LinearShape> shapes = run.shapes();
    const auto cost = [&](const MethodOptions& method) {
        return model_cost(shapes, compressions_of(shapes, method), run.batch_size(),
                          Convention::executed)
            .total;
    };
    const LinearCost vanilla = cost({});
    for (const Choice& choice : all) {
        const std::string what =
            choice.rank ? fmt::format("{}, R = {}", choice.spec, *choice.rank) : choice.spec;
        Calibrator calibrator(run.model(), choice.options);
        calibrate(run, calibrator, options.study);
        const TapeOptions tape = tape_options(choice.options);
        MethodQuality point{
            choice.spec, choice.rank, errors(run, options, study, what, tape.codec.get()), {}, {}};
        const LinearCost of_method = cost(choice.options);
        point.flops =
            static_cast<double>(of_method.backward()) / static_cast<double>(vanilla.backward());
        point.bytes =
            static_cast<double>(of_method.saved_bytes) / static_cast<double>(vanilla.saved_bytes);
        study.points.push_back(std::move(point));
    }
    for (const std::int64_t rank : options.ranks) {
        for (LinearMap* layer : linear_maps(run.model()))
            layer->set_rule(std::make_shared<OptimalRule>(rank, options.study.side));
        study.points.push_back({"optimum",
                                rank,
                                errors(run, options, study, fmt::format("optimum, R = {}", rank)),
                                {},
                                {}});
    }
    run.rewind();
    return study;
}

}  // namespace slimgrad
