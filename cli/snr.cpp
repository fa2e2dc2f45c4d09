#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/snr_output.h"
#include "cli/table.h"
#include "data/npy.h"
#include "tensor/blas.h"
#include "tensor/error.h"
#include "train/run_directory.h"

namespace slimgrad::cli {
namespace {

using nlohmann::json;

struct Options {
    bool json = false, quiet = false;
    std::string source = "synthetic", weight, covariance = "separable", offset = "paper", side;
    std::string sweep, layer, out;
    std::vector<double> epsilon;
    std::vector<std::int64_t> oversample, steps = {0, 1, 2, 5, 10, 20, 50};
    std::optional<double> alpha, lr;
    double confidence = 0.99;
    std::int64_t samples = 10000, seeds = 1, threads = 0;
    std::uint64_t seed = 0;
    SnrSourceOptions synthetic;
    std::int64_t batches = 10;
    std::optional<std::int64_t> calibrate_batches;
};

/// What a command finds out, for every form of output.
struct Findings {
    json document = json::object();
    std::vector<Figure> figures;
    std::vector<std::string> notes;  // below the tables

    void add(Figure figure) { figures.push_back(std::move(figure)); }
};

bool is_array(const std::string& source) {
    return std::filesystem::path(source).extension() == ".npy";
}

SnrOptions choice(const Options& o, double epsilon, std::int64_t oversample, Side side) {
    SnrOptions options;
    options.epsilon = epsilon;
    options.oversample = oversample;
    options.offset = parse_snr_offset(o.offset);
    options.alpha = o.alpha;
    options.side = side;
    options.confidence = o.confidence;
    validate(options);
    return options;
}

/// Round numbers from 0.8 to well beyond the best scales, 1 among them, at most some 130.
std::vector<double> alpha_grid(const SnrTheory& theory) {
    const double best = std::max(theory.best_alpha, theory.best_alpha_w);
    const double top = std::isfinite(best) ? 1 + 2 * std::max(best - 1, 0.1) : 2;
    std::int64_t hundredths = 1;
    for (const std::int64_t step : {1, 2, 5, 10, 20, 50, 100, 1000, 10000})
        if ((top - 0.8) * 100 > 130 * static_cast<double>(hundredths)) hundredths = step;
    std::vector<double> grid;
    for (std::int64_t i = 80 / hundredths; static_cast<double>(i * hundredths) <= 100 * top; ++i)
        if (i > 0) grid.push_back(static_cast<double>(i * hundredths) / 100);
    return grid;
}

/// The choices of a sweep over one subject; every other option is the first of its list.
std::vector<SnrOptions> sweep_choices(const Options& o, const SnrSubject& subject) {
    const SnrOptions first = choice(o, o.epsilon.front(), o.oversample.front(), subject.modes.side);
    std::vector<SnrOptions> choices;
    if (o.sweep == "epsilon") {
        for (int i = 0; i <= 498; ++i) {
            choices.push_back(first);
            choices.back().epsilon = 0.5 + 0.001 * i;
        }
    } else if (o.sweep == "oversample") {
        const auto dim = std::ssize(subject.modes.sigma);
        const std::int64_t rank = snr_theory(subject.modes, first).rank;
        for (std::int64_t p = 0; rank + p - first.oversample <= dim; ++p) {
            choices.push_back(first);
            choices.back().oversample = p;
        }
    } else {
        for (const double alpha : alpha_grid(snr_theory(subject.modes, first))) {
            choices.push_back(first);
            choices.back().alpha = alpha;
        }
    }
    return choices;
}

void add_sweep(const Options& o, const SnrSubject& subject, Findings& found) {
    json rows = json::array();
    for (const SnrOptions& options : sweep_choices(o, subject))
        rows.push_back(to_json(snr_row(subject, options)));
    const std::string axis = o.sweep == "offset" ? "alpha" : o.sweep;
    Figure figure{.id = "sweep-" + o.sweep,
                  .title = fmt::format("{}: sweep over {}", subject.name, axis),
                  .caption =
                      "One set of samples serves the whole sweep. The band is the "
                      "confidence interval of the measured ratio."};
    figure.chart = sweep_chart(rows, axis);
    json shown = json::array();
    if (o.sweep == "offset") {
        const auto most = [&](const char* key) {
            return *std::ranges::max_element(rows, {},
                                             [key](const json& row) { return value(row, key); });
        };
        found.document["grid_step"] = value(rows[1], "alpha") - value(rows[0], "alpha");
        for (const char* key : {"predicted", "exact", "measured"}) {
            const json row = most(key);
            found.document["maximum"][key] = {{"alpha", row["alpha"]}, {"snr", row[key]}};
            found.notes.push_back(fmt::format("{} is largest at alpha = {:.4g}: {:.4g}", key,
                                              value(row, "alpha"), value(row, key)));
        }
        found.notes.push_back(fmt::format(
            "1 + N/S = {:.4g}, 1 + N_w/S_w = {:.4g}, 1/epsilon = {:.4g}; grid step {:.2g}",
            value(rows[0], "best_alpha"), value(rows[0], "best_alpha_w"),
            1 / value(rows[0], "epsilon"), found.document["grid_step"].get<double>()));
    }
    // A line for each change of rank, or a few of many.
    const std::size_t every = o.sweep == "offset" ? 10 : 1;
    for (std::size_t i = 0; i < rows.size(); i += every)
        if (o.sweep != "epsilon" || shown.empty() || shown.back()["rank"] != rows[i]["rank"])
            shown.push_back(rows[i]);
    if (o.sweep == "epsilon")
        found.notes.push_back(
            fmt::format("{} values of epsilon choose {} ranks; each line is the first of its rank",
                        rows.size(), shown.size()));
    figure.table = ratio_table(shown);
    found.add(std::move(figure));
    found.document["rows"] = rows;
}

void add_summary(const json& rows, Findings& found) {
    std::int64_t predicted = 0, exact = 0;
    for (const json& row : rows) {
        predicted += row.at("predicted_inside").get<bool>() ? 1 : 0;
        exact += row.at("exact_inside").get<bool>() ? 1 : 0;
    }
    found.document["predicted_inside"] = predicted;
    found.document["exact_inside"] = exact;
    found.document["comparisons"] = rows.size();
    found.notes.push_back(
        fmt::format("predicted lies in the interval of measured in {} of {}, "
                    "exact in {}",
                    predicted, rows.size(), exact));
}

Side fixed_side(const Options& o) {
    const auto side = parse_side(o.side.empty() ? "token" : o.side);
    require(side.has_value(), "[snr] --side auto is for runs; here choose token or channel");
    return *side;
}

void synthetic(Options o, Findings& found) {
    if (o.epsilon.empty() && o.sweep.empty()) o.epsilon = {0.8, 0.9, 0.95, 0.99, 0.999};
    if (o.epsilon.empty()) o.epsilon = {0.95};
    if (o.oversample.empty()) o.oversample = {0};
    require(o.covariance == "separable" || o.covariance == "non-separable",
            "[snr] unknown covariance '{}'. Known: separable, non-separable", o.covariance);
    require(o.samples >= 2 && o.seeds >= 1, "[snr] expected --samples >= 2 and --seeds >= 1");
    const Side side = fixed_side(o);
    SnrSourceOptions shape = o.synthetic;
    shape.separable = o.covariance == "separable";
    shape.seed = o.seed;
    found.document["covariance"] = o.covariance;
    if (!o.sweep.empty())
        return add_sweep(o, snr_subject(SnrSource(shape), side, o.samples, 0), found);
    json rows = json::array();
    for (std::int64_t s = 0; s < o.seeds; ++s) {
        shape.seed = o.seed + static_cast<std::uint64_t>(s);
        const SnrSource source(shape);
        std::uint64_t draw = 0;  // every comparison has samples of its own
        for (const double epsilon : o.epsilon)
            for (const std::int64_t oversample : o.oversample)
                rows.push_back(to_json(snr_row(snr_subject(source, side, o.samples, draw++),
                                               choice(o, epsilon, oversample, side))));
    }
    found.document["rows"] = rows;
    found.add({.id = "ratios",
               .title = fmt::format("Synthetic gradients, {} covariance", o.covariance),
               .caption = fmt::format("{} fresh samples a comparison, intervals of {} %. Predicted "
                                      "and exact are of the population.",
                                      o.samples, 100 * o.confidence),
               .table = o.seeds > 1 ? seeds_table(rows) : ratio_table(rows)});
    add_summary(rows, found);
}

void arrays(Options o, Findings& found) {
    require(!o.weight.empty(),
            "[snr] expected --weight w.npy, (out_channels, in_channels), beside --source {}",
            o.source);
    if (o.epsilon.empty()) o.epsilon = {0.95};
    if (o.oversample.empty()) o.oversample = {0};
    const Side side = fixed_side(o);
    const Tensor g = load_npy(o.source), w = load_npy(o.weight);
    const SnrSubject subject = snr_subject(o.source, g, w, side);
    if (!o.sweep.empty()) return add_sweep(o, subject, found);
    json rows = json::array();
    for (const double epsilon : o.epsilon)
        for (const std::int64_t oversample : o.oversample)
            rows.push_back(
                to_json(snr_row(subject, choice(o, epsilon, oversample, subject.modes.side))));
    found.document["rows"] = rows;
    found.add({.id = "ratios",
               .title = o.source,
               .caption = "All samples make the covariance, the exact ratio and the measured one, "
                          "so these two are equal to rounding; the interval says how far another "
                          "set of samples may lie.",
               .table = ratio_table(rows)});
}

void staleness(const Options& o, RunProbe& run, const MethodOptions& method,
               const RunStudyOptions& study, Findings& found) {
    const double lr = o.lr.value_or(run.config().lr);
    json rows = json::array();
    for (const std::int64_t oversample : o.oversample)
        for (const StalenessRow& row :
             staleness_study(run, method, choice(o, o.epsilon.front(), oversample, Side::token),
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

void layers(const Options& o, RunProbe& run, const MethodOptions& method,
            const RunStudyOptions& study, Findings& found) {
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
                rows.push_back(
                    to_json(snr_row(subject, choice(o, epsilon, oversample, subject.modes.side))));
            found.add({.id = fmt::format("layers-epsilon{}-p{}", epsilon, oversample),
                       .title = fmt::format("epsilon = {}, p = {}", epsilon, oversample),
                       .caption = "Predicted and exact come from the calibration batches, measured "
                                  "from fresh ones; all gradients are exact.",
                       .chart = layer_chart(rows),
                       .table = ratio_table(rows)});
            for (const json& row : rows) found.document["rows"].push_back(row);
        }
    add_summary(found.document["rows"], found);

    const json errors = to_json(error_study(run, method, study));
    found.document["errors"] = {{"method", method.method},
                                {"epsilon", method.epsilon},
                                {"oversample", method.oversample},
                                {"layers", errors}};
    const std::string what = fmt::format(
        "{}, epsilon {}, p {}, offset {}, on {} fresh batches. Alone: the layer is given the exact "
        "gradient. Through depth: the whole backward is compressed; same batch, same masks.",
        method.method, method.epsilon, method.oversample, to_string(method.offset), study.batches);
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

void of_run(Options o, Findings& found) {
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
        method.side = parse_side(o.side);
        method.side_x = method.side_g = std::nullopt;
    }
    method.epsilon = o.epsilon.front();
    method.oversample = o.oversample.back();
    validate(method);
    require(o.sweep.empty() || o.sweep == "staleness" || !o.layer.empty(),
            "[snr] expected --layer NAME for a sweep over {} of a run", o.sweep);
    require(o.batches >= 1, "[snr] expected --batches >= 1");
    RunStudyOptions study;
    study.calibrate_batches = o.calibrate_batches.value_or(config.calibrate_batches);
    require(study.calibrate_batches >= 1, "[snr] expected --calibrate-batches >= 1");
    study.batches = o.batches;
    study.side = method.side_of_g();
    if (!o.quiet && isatty(STDERR_FILENO))
        study.progress = [](const std::string& what) { fmt::print(stderr, "\r\x1b[K{}", what); };
    found.document["run"] = {
        {"model", config.model},   {"data", config.data},
        {"method", config.method}, {"step", run.step()},
        {"batch", config.batch},   {"calibrate_batches", study.calibrate_batches},
        {"batches", study.batches}};
    if (o.sweep == "staleness")
        staleness(o, run, method, study, found);
    else
        layers(o, run, method, study, found);
    study.progress("");
}

void write_files(const Options& o, const Findings& found) {
    write_figures(o.out, "signal-to-noise ratio of g_x (Appendix C)",
                  fmt::format("Source: {}. {}", o.source, fmt::join(found.notes, ". ")),
                  found.figures);
    const std::filesystem::path out = o.out;
    write_file(out / "snr.json", found.document.dump(2) + "\n");
    write_file(out / "rows.csv", csv(found.document.at("rows")));
    if (found.document.contains("errors"))
        write_file(out / "errors.csv", csv(found.document["errors"]["layers"]));
}

int snr_command(const Options& o) {
    const std::vector<std::string> sweeps = {"epsilon", "oversample", "offset", "staleness"};
    require(o.sweep.empty() || std::ranges::find(sweeps, o.sweep) != sweeps.end(),
            "[snr] unknown sweep '{}'. Known: {}", o.sweep, fmt::join(sweeps, ", "));
    const bool files = is_array(o.source), made = o.source == "synthetic";
    require(o.sweep != "staleness" || !(files || made),
            "[snr] --sweep staleness needs a run: --source RUN");
    choice(o, o.epsilon.empty() ? 0.95 : o.epsilon.front(), 0, Side::token);  // fails early
    if (o.threads > 0) set_threads(static_cast<int>(o.threads));

    Findings found;
    found.document["source"] = o.source;
    found.document["confidence"] = o.confidence;
    found.document["offset"] = o.alpha ? fmt::format("{}", *o.alpha) : o.offset;
    if (made)
        synthetic(o, found);
    else if (files)
        arrays(o, found);
    else
        of_run(o, found);

    if (!o.out.empty()) {
        write_files(o, found);
        found.document["report"] = (std::filesystem::path(o.out) / "report.html").string();
    }
    if (o.json) {
        fmt::print("{}\n", found.document.dump(2));
        return exit_done;
    }
    for (const Figure& figure : found.figures) {
        if (figure.table.empty()) continue;
        fmt::print("{}\n{}{}\n\n", figure.title, Table{figure.table}.text(), figure.caption);
    }
    for (const std::string& note : found.notes) fmt::print("{}\n", note);
    if (!o.out.empty()) fmt::print("{}\n", found.document["report"].get<std::string>());
    return exit_done;
}

}  // namespace

Action add_snr(CLI::App& program) {
    auto o = std::make_shared<Options>();
    CLI::App* command = add_command(
        program, "snr",
        "Signal-to-noise ratio of the compressed g_x: predicted (Appendix C, eq. 31), exact and "
        "measured (eq. 20)",
        "slimgrad snr --source synthetic --seeds 20\n"
        "  slimgrad snr --source synthetic --covariance non-separable --sweep offset --out snr\n"
        "  slimgrad snr --source runs/instant --out snr\n"
        "  slimgrad snr --source runs/instant --sweep staleness --oversample 0,5\n"
        "  slimgrad snr --source g.npy --weight w.npy --epsilon 0.9,0.95",
        o->json);
    const auto add = [command](const char* name, auto& value, const char* what) {
        return command->add_option(name, value, what);
    };
    add("--source", o->source, "synthetic, a run directory, or g.npy: (samples, tokens, channels)")
        ->capture_default_str();
    add("--weight", o->weight, "w.npy beside g.npy: (out_channels, in_channels)");
    add("--covariance", o->covariance, "of synthetic gradients: separable or non-separable")
        ->capture_default_str();
    add("--epsilon", o->epsilon, "shares of energy, with commas")->delimiter(',');
    add("--oversample", o->oversample, "directions added to the rank, with commas")->delimiter(',');
    add("--offset", o->offset, "scale of the projection: paper (1/epsilon), none, energy or signal")
        ->capture_default_str();
    add("--alpha", o->alpha, "a scale of one's own instead");
    add("--side", o->side, "token or channel; for runs also auto (default: the run's)");
    add("--confidence", o->confidence, "of the intervals")->capture_default_str();
    add("--sweep", o->sweep, "epsilon, oversample, offset or staleness (runs)");
    add("--samples", o->samples, "fresh samples of a synthetic comparison")->capture_default_str();
    add("--seeds", o->seeds, "synthetic sources, with one seed each")->capture_default_str();
    add("--seed", o->seed, "the first of them")->capture_default_str();
    add("--tokens", o->synthetic.tokens, "synthetic: L")->capture_default_str();
    add("--out-channels", o->synthetic.out_channels, "synthetic: Cy")->capture_default_str();
    add("--in-channels", o->synthetic.in_channels, "synthetic: Cx")->capture_default_str();
    add("--decay", o->synthetic.decay, "synthetic: ratio of neighbouring eigenvalues")
        ->capture_default_str();
    add("--contrast", o->synthetic.contrast,
        "non-separable: how much larger W is for dropped modes")
        ->capture_default_str();
    add("--layer", o->layer, "of a run: this layer alone");
    add("--batches", o->batches, "of a run: fresh batches to measure on")->capture_default_str();
    add("--calibrate-batches", o->calibrate_batches, "of a run (default: the run's)");
    add("--steps", o->steps, "staleness: steps since calibration, with commas")
        ->delimiter(',')
        ->capture_default_str();
    add("--lr", o->lr, "staleness: constant learning rate (default: the run's base rate)");
    add("--threads", o->threads, "threads (0: as many as OpenMP gives)")->capture_default_str();
    add("--out", o->out, "directory for report.html, charts (SVG), rows.csv and snr.json");
    command->add_flag("--quiet", o->quiet, "no progress on standard error");
    return [o] { return snr_command(*o); };
}

}  // namespace slimgrad::cli
