#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/snr_output.h"
#include "cli/snr_sources.h"
#include "tensor/blas.h"
#include "tensor/error.h"
#include "train/directory_lock.h"
#include "train/html.h"
#include "train/json_file.h"
#include "train/json_text.h"
#include "train/progress.h"
#include "train/run_directory.h"
#include "train/table.h"

namespace slimgrad::cli {

SnrOptions snr_choice(const SnrRequest& o, double epsilon, std::int64_t oversample, Side side) {
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

void add_summary(const nlohmann::json& rows, SnrFindings& found) {
    std::int64_t predicted = 0, exact = 0;
    for (const nlohmann::json& row : rows) {
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

namespace {

bool is_array(const std::string& source) {
    return std::filesystem::path(source).extension() == ".npy";
}

constexpr const char* tables[] = {"snr.json", "rows.csv", "errors.csv"};

/// Throws Error if --out has files that are not of an earlier study: they would be replaced.
void require_free(const std::filesystem::path& out) {
    if (out.empty()) return;
    require(!holds_run(out), "[snr] '{0}' holds a run. Hint: --out {0}/snr", out.string());
    html::require_replaceable(out / "report.html");
    const nlohmann::json before = json_or_nothing(out / "snr.json");
    if (before.is_object() && before.contains("source") && before.contains("rows")) return;
    std::error_code none;
    for (const char* name : tables)
        require(!std::filesystem::exists(out / name, none),
                "[snr] '{}' holds a file '{}' that is of no earlier study. Hint: another --out",
                out.string(), name);
}

/// Nobody else writes there until the study ends.
std::unique_ptr<DirectoryLock> locked(const std::filesystem::path& out) {
    if (out.empty()) return nullptr;
    std::error_code error;
    std::filesystem::create_directories(out, error);
    require(!error, "[snr] cannot create the directory '{}': {}", out.string(), error.message());
    auto lock = std::make_unique<DirectoryLock>(out);
    if (!lock->held()) say(lock->note() + "\n");
    return lock;
}

void write_files(const SnrRequest& o, const SnrFindings& found) {
    write_figures(o.out, "signal-to-noise ratio of g_x (Appendix C)",
                  fmt::format("Source: {}. {}", o.source, fmt::join(found.notes, ". ")),
                  found.figures);
    const std::filesystem::path out = o.out;
    write_file(out / "snr.json", json_text(found.document));
    write_file(out / "rows.csv", csv(found.document.at("rows")));
    if (found.document.contains("errors"))
        write_file(out / "errors.csv", csv(found.document["errors"]["layers"]));
}

int snr_command(const SnrRequest& o) {
    const bool files = is_array(o.source), made = o.source == "synthetic";
    const bool of_run = o.sweep == "staleness" || o.sweep == "spectrum" || o.sweep == "rank";
    require(!of_run || !(files || made), "[snr] --sweep {} needs a run: --source RUN", o.sweep);
    snr_choice(o, o.epsilon.empty() ? 0.95 : o.epsilon.front(), 0, Side::token);  // fails early
    require_free(o.out);
    const std::unique_ptr<DirectoryLock> lock = locked(o.out);
    if (o.threads > 0) set_threads(static_cast<int>(o.threads));

    SnrFindings found;
    found.document["source"] = o.source;
    found.document["sweep"] = o.sweep.empty() ? nlohmann::json() : nlohmann::json(o.sweep);
    found.document["confidence"] = o.confidence;
    found.document["offset"] = o.alpha ? fmt::format("{}", *o.alpha) : o.offset;
    if (made)
        snr_of_synthetic(o, found);
    else if (files)
        snr_of_arrays(o, found);
    else
        snr_of_run(o, found);

    if (!o.out.empty()) {
        write_files(o, found);
        found.document["report"] = (std::filesystem::path(o.out) / "report.html").string();
    }
    if (o.json) {
        print_json(found.document);
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

/// Throws Error for an option that does nothing for this source or sweep: whoever gave it would
/// take the answer for another one.
void refuse_idle(const SnrRequest& o, const CLI::App& command) {
    const bool made = o.source == "synthetic", files = is_array(o.source), run = !made && !files;
    const bool spectrum = o.sweep == "spectrum", staleness = o.sweep == "staleness",
               rank = o.sweep == "rank";
    const std::vector<std::string> notes =
        idle_notes({{!files, {"weight"}, "the source is no array"},
                    {!made,
                     {"covariance", "samples", "seeds", "seed", "tokens", "out_channels",
                      "in_channels", "decay", "contrast"},
                     "the source is not synthetic"},
                    {o.covariance == "separable", {"contrast"}, "the covariance is separable"},
                    {!run, {"layer", "batches", "calibrate_batches"}, "the source is no run"},
                    {!staleness, {"steps", "lr"}, "it is for --sweep staleness"},
                    {!rank, {"methods", "rank", "draws"}, "it is for --sweep rank"},
                    {rank, {"epsilon", "oversample"}, "the sweep is over the rank"},
                    {rank, {"offset", "alpha"}, "methods have scales of their own"},
                    {made && !o.sweep.empty(), {"seeds"}, "a sweep is over one source"},
                    {o.sweep == "epsilon", {"epsilon"}, "the sweep is over it"},
                    {o.sweep == "oversample", {"oversample"}, "the sweep is over it"},
                    {o.sweep == "offset", {"offset", "alpha"}, "the sweep is over it"},
                    {o.alpha.has_value(), {"offset"}, "alpha is given"},
                    {spectrum,
                     {"oversample", "offset", "alpha", "confidence", "batches"},
                     "a spectrum counts eigenvalues alone"}},
                   given(command));
    if (!notes.empty()) fail("[snr] {}", notes.front());
    require(o.sweep.empty() || spectrum || o.epsilon.size() <= 1,
            "[snr] expected one --epsilon for a sweep over {}, got {}", o.sweep, o.epsilon.size());
    require(o.sweep.empty() || staleness || o.oversample.size() <= 1,
            "[snr] expected one --oversample for a sweep over {}, got {}", o.sweep,
            o.oversample.size());
}

constexpr std::int64_t million = 1'000'000;

void add_source_options(CLI::App& command, SnrRequest& o) {
    const auto add = [&](const char* name, Range range, const char* help, auto& value) {
        add_option(command, {name, std::move(range), help}, value);
    };
    constexpr Integers axis{2, 4096};  // all eigenvectors of its covariance are computed
    add("source", AnyText{}, "synthetic, a run directory, or g.npy: (samples, tokens, channels)",
        o.source);
    add("weight", AnyText{}, "w.npy beside g.npy: (out_channels, in_channels)", o.weight);
    add("covariance", Words{{"separable", "non-separable"}}, "of synthetic gradients",
        o.covariance);
    // The generator of samples counts them in 32 bits.
    add("samples", Integers{2, 1000 * million}, "fresh samples of a synthetic comparison",
        o.samples);
    add("seeds", Integers{1, 10'000}, "synthetic sources, with one seed each", o.seeds);
    add("seed", Integers{0, std::numeric_limits<std::int64_t>::max() - 10'000}, "the first of them",
        o.seed);
    add("tokens", axis, "synthetic: L", o.synthetic.tokens);
    add("out_channels", axis, "synthetic: Cy", o.synthetic.out_channels);
    add("in_channels", axis, "synthetic: Cx", o.synthetic.in_channels);
    add("decay", Reals{0, 1, true}, "synthetic: ratio of neighbouring eigenvalues",
        o.synthetic.decay);
    add("contrast", Reals{0, 1e6, true}, "non-separable: how much larger W is for dropped modes",
        o.synthetic.contrast);
    add("layer", AnyText{}, "of a run: this layer alone", o.layer);
    add("batches", Integers{1, million}, "of a run: fresh batches to measure on", o.batches);
    add("calibrate_batches", Integers{1, million}, "of a run (default: the run's)",
        o.calibrate_batches);
}

void add_measure_options(CLI::App& command, SnrRequest& o) {
    const auto add = [&](const char* name, Range range, const char* help, auto& value) {
        add_option(command, {name, std::move(range), help}, value);
    };
    add("epsilon", method_option("epsilon").range, "shares of energy, with commas", o.epsilon);
    add("oversample", method_option("oversample").range,
        "directions added to the rank, with commas", o.oversample);
    add("offset", Words{snr_offset_names()}, "scale of the projection (paper: 1/epsilon)",
        o.offset);
    add("alpha", snr_alphas, "a scale of one's own instead", o.alpha);
    add("side", method_option("side").range, "axis; auto for runs only (default: the run's)",
        o.side);
    add("confidence", snr_confidences, "of the intervals", o.confidence);
    add("sweep", Words{{"epsilon", "oversample", "offset", "staleness", "spectrum", "rank"}},
        "the last three are of runs; spectrum: how many eigenvalues hold epsilon of the energy of "
        "g_y; rank: the gradients of several methods",
        o.sweep);
    add("methods", AnyText{},
        "rank: methods, with commas; each may have options of its own, as in compare", o.methods);
    add("rank", Integers{1, million}, "rank: ranks, with commas", o.ranks);
    add("draws", Integers{2, 1000}, "rank: random draws of each method", o.draws);
    add("steps", Integers{0, million}, "staleness: steps since calibration, with commas", o.steps);
    add("lr", Reals{0, 1e38}, "staleness: constant learning rate (default: the run's base rate)",
        o.lr);
    add("threads", Integers{0, max_threads()}, "threads (0: as many as OpenMP gives)", o.threads);
    add("out", AnyText{}, "directory for report.html, rows.csv and snr.json", o.out);
}

}  // namespace

Action add_snr(CLI::App& program) {
    auto o = std::make_shared<SnrRequest>();
    CLI::App* command = add_command(
        program, "snr",
        "Signal-to-noise ratio of the compressed g_x: predicted (Appendix C, eq. 31), exact and "
        "measured (eq. 20)",
        "slimgrad snr --source synthetic --seeds 20\n"
        "  slimgrad snr --source synthetic --covariance non-separable --sweep offset --out snr\n"
        "  slimgrad snr --source runs/instant --out snr\n"
        "  slimgrad snr --source runs/instant --sweep staleness --oversample 0,5\n"
        "  slimgrad snr --source runs/instant --sweep spectrum --epsilon 0.95\n"
        "  slimgrad snr --source runs/vanilla --sweep rank --methods instant,sketch --out snr\n"
        "  slimgrad snr --source g.npy --weight w.npy --epsilon 0.9,0.95",
        o->json);
    add_source_options(*command, *o);
    add_measure_options(*command, *o);
    command->add_flag("--quiet", o->quiet, "no progress on standard error");
    return [o, command] {
        refuse_idle(*o, *command);
        return snr_command(*o);
    };
}

}  // namespace slimgrad::cli
