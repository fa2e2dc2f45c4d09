#include <fmt/format.h>
#include <unistd.h>

#include "cli/snr_charts.h"
#include "cli/snr_output.h"
#include "cli/snr_sources.h"
#include "tensor/error.h"
#include "train/progress.h"

namespace slimgrad::cli {
namespace {

using nlohmann::json;

void staleness(const SnrRequest& o, RunProbe& run, const MethodOptions& method,
               const RunStudyOptions& study, SnrFindings& found) {
    const double lr = o.lr.value_or(run.config().lr);
    json rows = json::array();
    for (const std::int64_t oversample : o.oversample)
        for (const StalenessRow& row :
             staleness_study(run, method, snr_choice(o, o.epsilon.front(), oversample, Side::token),
                             o.steps, lr, study))
            rows.push_back(to_json(row));
    found.document["rows"] = rows;
    found.document["lr"] = lr;
    Figure figure{.id = "staleness",
                  .title = "Steps since calibration",
                  .caption = fmt::format(
                      "Training goes on from step {} at the learning rate {}, compressed by the "
                      "projectors of that step. All ratios are of the same fresh batches; "
                      "geometric means over layers.",
                      run.step(), lr),
                  .chart = staleness_chart(rows),
                  .table = staleness_table(rows)};
    found.add(std::move(figure));
}

void spectra(const SnrRequest& o, RunProbe& run, const RunStudyOptions& study, SnrFindings& found) {
    json rows = json::array();
    for (const SpectrumRow& row : spectrum_study(run, o.epsilon, study))
        if (o.layer.empty() || row.name == o.layer) rows.push_back(to_json(row));
    require(!rows.empty(), "[snr] model {} has no layer{} with both a token axis and a g_x",
            run.config().model, o.layer.empty() ? "" : " '" + o.layer + "'");
    found.document["rows"] = rows;
    found.add({.id = "spectrum",
               .title = "Eigenvalues that hold the energy of g_y",
               .caption = fmt::format(
                   "Exact gradients of {} samples from step {}. Energy is the sum of the squared "
                   "eigenvalues of C = E[g gᵀ], as the ranks are chosen.",
                   rows[0].at("samples").get<std::int64_t>(), run.step()),
               .chart = spectrum_chart(rows),
               .table = spectrum_table(rows)});
}

void layers(const SnrRequest& o, RunProbe& run, const MethodOptions& method,
            const RunStudyOptions& study, SnrFindings& found) {
    std::vector<SnrSubject> subjects = snr_subjects(run, study);
    require(!subjects.empty(),
            "[snr] no layer of model {} has both a token axis and a g_x to compress",
            run.config().model);
    if (!o.layer.empty()) {
        std::vector<std::string> known;
        for (const SnrSubject& subject : subjects) known.push_back(subject.name);
        std::erase_if(subjects, [&](const SnrSubject& s) { return s.name != o.layer; });
        require(!subjects.empty(), "[snr] unknown layer '{}'. Known: {}", o.layer,
                fmt::join(known, ", "));
    }
    if (!o.sweep.empty()) return add_sweep(o, subjects.front(), found);

    found.document["rows"] = json::array();
    for (const double epsilon : o.epsilon)
        for (const std::int64_t oversample : o.oversample) {
            json rows = json::array();
            for (const SnrSubject& subject : subjects)
                rows.push_back(to_json(
                    snr_row(subject, snr_choice(o, epsilon, oversample, subject.modes.side))));
            found.add({.id = fmt::format("layers-epsilon{}-p{}", epsilon, oversample),
                       .title = fmt::format("epsilon = {}, p = {}", epsilon, oversample),
                       .caption = "Predicted and exact come from the calibration batches, measured "
                                  "from fresh ones; all gradients are exact.",
                       .chart = layer_chart(rows),
                       .table = ratio_table(rows)});
            for (const json& row : rows) found.document["rows"].push_back(row);
        }
    add_summary(found.document["rows"], found);
    const json means = means_of_layers(found.document["rows"]);
    found.document["means"] = means;
    found.add({.id = "means",
               .title = "All layers",
               .caption = "Geometric means over the layers in which all three ratios are finite.",
               .table = means_table(means)});

    const json errors = to_json(error_study(run, method, study));
    found.document["errors"] = {{"method", method.method},
                                {"epsilon", method.epsilon},
                                {"oversample", method.oversample},
                                {"layers", errors}};
    const std::string what = fmt::format(
        "{}, epsilon {}, p {}, offset {}, on {} fresh batches. Alone: the layer is given the exact "
        "gradient. Through depth: the whole backward is compressed; same batch, same masks.",
        method.method, method.epsilon, method.oversample, method.offset, study.batches);
    found.add({.id = "errors-gx",
               .title = "Errors of g_x",
               .caption = what,
               .chart = error_chart(errors, "gx"),
               .table = error_table(errors)});
    found.add({.id = "errors-gw",
               .title = "Errors of g_w",
               .caption = what,
               .chart = error_chart(errors, "gw")});
}

}  // namespace

void snr_of_run(SnrRequest o, SnrFindings& found) {
    RunProbe run(o.source, o.threads);
    const TrainConfig& config = run.config();
    MethodOptions method = config.method_options();
    if (method.method == "vanilla") method.method = "instant";
    if (o.epsilon.empty()) o.epsilon = {config.epsilon};
    if (o.oversample.empty()) {
        o.oversample = {0};
        if (config.oversample > 0) o.oversample.push_back(config.oversample);
    }
    if (!o.side.empty()) {
        method.side = o.side;
        method.side_x = method.side_g = "";
    }
    method.epsilon = o.epsilon.front();
    method.oversample = o.oversample.back();
    const bool of_all_layers = o.sweep == "staleness" || o.sweep == "spectrum" || o.sweep == "rank";
    require(
        config.pad == "fixed" || method.side_of_g() == Side::channel,
        "[snr] the batches of '{}' have lengths of their own (pad {}), and directions along the "
        "tokens one. Hint: --side channel",
        o.source, config.pad);
    TrainConfig studied = config;  // its batches, under this method
    method_part(studied) = method;
    validate(studied);
    require(o.sweep.empty() || of_all_layers || !o.layer.empty(),
            "[snr] expected --layer NAME for a sweep over {} of a run", o.sweep);
    RunStudyOptions study;
    study.calibrate_batches = o.calibrate_batches.value_or(config.calibrate_batches);
    study.batches = o.batches;
    study.side = method.side_of_g();
    if (!o.quiet && isatty(STDERR_FILENO))
        study.progress = [](const std::string& what) { say("\r\x1b[K" + what); };
    found.document["run"] = {
        {"model", config.model},   {"data", config.data},
        {"method", config.method}, {"step", run.step()},
        {"batch", config.batch},   {"calibrate_batches", study.calibrate_batches},
        {"batches", study.batches}};
    if (o.sweep == "staleness")
        staleness(o, run, method, study, found);
    else if (o.sweep == "spectrum")
        spectra(o, run, study, found);
    else if (o.sweep == "rank")
        add_methods(o, run, study, found);
    else
        layers(o, run, method, study, found);
    study.progress("");
}

}  // namespace slimgrad::cli
