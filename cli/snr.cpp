#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/snr_output.h"
#include "cli/snr_sources.h"
#include "cli/table.h"
#include "tensor/blas.h"
#include "tensor/error.h"
#include "train/html.h"
#include "train/run_directory.h"

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
    std::ifstream in(out / "snr.json");
    const auto before = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
    if (before.is_object() && before.contains("source") && before.contains("rows")) return;
    std::error_code none;
    for (const char* name : tables)
        require(!std::filesystem::exists(out / name, none),
                "[snr] '{}' holds a file '{}' that is of no earlier study. Hint: another --out",
                out.string(), name);
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
    remove_leftovers(out, tables);
}

int snr_command(const SnrRequest& o) {
    const std::vector<std::string> sweeps = {"epsilon", "oversample", "offset", "staleness",
                                             "spectrum"};
    require(o.sweep.empty() || std::ranges::find(sweeps, o.sweep) != sweeps.end(),
            "[snr] unknown sweep '{}'. Known: {}", o.sweep, fmt::join(sweeps, ", "));
    const bool files = is_array(o.source), made = o.source == "synthetic";
    require((o.sweep != "staleness" && o.sweep != "spectrum") || !(files || made),
            "[snr] --sweep {} needs a run: --source RUN", o.sweep);
    snr_choice(o, o.epsilon.empty() ? 0.95 : o.epsilon.front(), 0, Side::token);  // fails early
    require_free(o.out);
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
    add("--sweep", o->sweep,
        "epsilon, oversample, offset; of runs also staleness, and spectrum: how "
        "many eigenvalues hold epsilon of the energy of g_y");
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
    add("--out", o->out, "directory for report.html, rows.csv and snr.json");
    command->add_flag("--quiet", o->quiet, "no progress on standard error");
    return [o] { return snr_command(*o); };
}

}  // namespace slimgrad::cli
