#include "train/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "data/file.h"
#include "tensor/error.h"
#include "train/html.h"
#include "train/report_data.h"
#include "train/units.h"

namespace slimgrad {
namespace assets {
extern const std::string_view chart_js, chart_style_js, report_js, report_css;
}  // namespace assets

namespace report {
namespace {

using html::escape;
using html::inert;
using units::bytes;
using units::flops;

std::string seconds(double value) {
    return std::isnan(value) ? "–" : fmt::format("{:.{}f} s", value, value < 10 ? 2 : 1);
}
std::string percent(const Statistics& s) {
    return std::isnan(s.mean) ? "–" : to_string(s, 2, 100, " %");
}
/// How many times less than the reference: "3.4×".
std::string times_less(double reference, double value) {
    if (std::isnan(reference) || std::isnan(value) || value == 0) return "–";
    return fmt::format("{:.2f}×", reference / value);
}

/// The linear layers' part of backward, what compression adds to forward included.
double backward_flops(const Group& g) {
    return statistics(g, {"flops", "g_w"}).mean + statistics(g, {"flops", "g_x"}).mean +
           statistics(g, {"flops", "compress"}).mean;
}

const Json& layers_of(const Group& group) {
    static const Json none = Json::array();
    const Json& summary = group.runs.front().summary;
    return summary.contains("layers") && summary["layers"].is_array() ? summary["layers"] : none;
}

std::string row(const std::vector<std::string>& cells, const char* tag = "td") {
    std::string out = "<tr>";
    for (std::size_t i = 0; i < cells.size(); ++i)
        out += i == 0 && std::string_view(tag) == "td"
                   ? fmt::format("<th scope=\"row\">{}</th>", escape(cells[i]))
                   : fmt::format("<{0}>{1}</{0}>", tag, escape(cells[i]));
    return out + "</tr>\n";
}

/// A metric by its name in summary.json and in the heading.
using Metric = std::pair<const char*, const char*>;

/// Those that the runs have.
std::vector<Metric> metrics_of(const std::vector<Group>& groups) {
    std::vector<Metric> metrics{{"accuracy", "test accuracy"}};
    for (const Metric& metric : {Metric{"f1", "F1"}, {"matthews", "Matthews’ correlation"}})
        if (!std::isnan(number(groups.front().runs.front().summary, {metric.first})))
            metrics.push_back(metric);
    return metrics;
}

/// What calling every sample by the most frequent class gets, filled up to `columns` cells; nothing
/// for runs that do not say it.
std::string majority_row(const std::vector<Group>& groups, std::size_t columns) {
    const Json& summary = groups.front().runs.front().summary;
    if (!summary.contains("majority_baseline")) return "";
    std::vector<std::string> cells{"majority class"};
    for (const auto& [name, title] : metrics_of(groups))
        cells.push_back(percent({number(summary, {"majority_baseline", name})}));
    cells.resize(columns, "–");
    return row(cells);
}

std::string comparison_table(const std::vector<Group>& groups) {
    const Group* vanilla = nullptr;
    for (const Group& group : groups)
        if (vanilla == nullptr && group.method == "vanilla") vanilla = &group;
    const auto reference = [&](const char* key) {
        return vanilla ? statistics(*vanilla, {"bytes", key}).mean : std::nan("");
    };
    const double flops_0 = vanilla ? backward_flops(*vanilla) : std::nan("");
    const double saved_0 = reference("saved_per_sample");
    const double linear_0 = reference("saved_per_sample_linear");

    std::vector<std::string> head{"method"};
    for (const auto& [name, title] : metrics_of(groups)) head.emplace_back(title);
    for (const char* title :
         {"backward, linear layers", "less", "with calibration", "less", "saved per sample", "less",
          "linear layers' part", "less", "peak, ledger", "peak, process", "forward", "backward",
          "calibration", "mean rank x", "mean rank g"})
        head.emplace_back(title);
    std::string out = "<table class=\"wide\"><thead>" + row(head, "th") + "</thead><tbody>";
    const auto rank = [](double r) { return std::isnan(r) ? "–" : fmt::format("{:.1f}", r); };
    for (const Group& g : groups) {
        const auto mean = [&](const char* a, const char* b) { return statistics(g, {a, b}).mean; };
        const double backward = backward_flops(g), all = backward + mean("flops", "calibrate");
        const double saved = mean("bytes", "saved_per_sample");
        const double linear = mean("bytes", "saved_per_sample_linear");
        std::vector<std::string> cells{g.label};
        for (const auto& [name, title] : metrics_of(groups))
            cells.push_back(percent(statistics(g, {name})));
        for (std::string cell :
             {flops(backward), times_less(flops_0, backward), flops(all), times_less(flops_0, all),
              bytes(saved), times_less(saved_0, saved), bytes(linear), times_less(linear_0, linear),
              bytes(mean("bytes", "peak")), bytes(mean("bytes", "rss_peak")),
              seconds(mean("seconds", "forward")), seconds(mean("seconds", "backward")),
              seconds(mean("seconds", "calibrate")), rank(statistics(g, {"ranks", "mean_x"}).mean),
              rank(statistics(g, {"ranks", "mean_g"}).mean)})
            cells.push_back(std::move(cell));
        out += row(cells);
    }
    return out + majority_row(groups, head.size()) + "</tbody></table>";
}

/// One row a phase, one column a group.
std::string phase_table(const std::vector<Group>& groups, const char* section,
                        std::initializer_list<const char*> phases, std::string (*show)(double)) {
    std::vector<std::string> head{"phase"};
    for (const Group& group : groups) head.push_back(group.label);
    std::string out = "<table><thead>" + row(head, "th") + "</thead><tbody>";
    for (const char* phase : phases) {
        std::vector<std::string> cells{phase};
        for (const Group& g : groups) cells.push_back(show(statistics(g, {section, phase}).mean));
        out += row(cells);
    }
    return out + "</tbody></table>";
}

/// The run that says most about layers: every group lists the same ones.
std::string rank_table(const std::vector<Group>& groups) {
    std::vector<std::string> head{"layer", "L", "Cx", "Cy"};
    for (const Group& group : groups) head.push_back(group.label + " (x / g)");
    std::string out = "<table><thead>" + row(head, "th") + "</thead><tbody>";
    const auto whole = [](double v) { return std::isnan(v) ? "–" : fmt::format("{:.0f}", v); };
    // "17 (12–20)": the last rank, and between which ranks it was over the calibrations.
    const auto rank = [&](const Json& layer, const std::string& slot) {
        const auto of = [&](const char* what) {
            return number(layer, {(what + ("rank_" + slot)).c_str()});
        };
        if (const double left = number(layer, {("left_vanilla_" + slot).c_str()});
            !std::isnan(left))
            return "exact (" + whole(left) + ")";
        std::string text = whole(of(""));
        if (of("min_") < of("max_"))
            text += fmt::format(" ({}–{})", whole(of("min_")), whole(of("max_")));
        return text;
    };
    const Json& first = layers_of(groups.front());
    for (std::size_t i = 0; i < first.size(); ++i) {
        std::vector<std::string> cells{first[i].value("name", "")};
        for (const char* key : {"L", "Cx", "Cy"}) cells.push_back(whole(number(first[i], {key})));
        for (const Group& group : groups) {
            const Json layer = i < layers_of(group).size() ? layers_of(group)[i] : Json();
            cells.push_back(rank(layer, "x") + " / " + rank(layer, "g"));
        }
        out += row(cells);
    }
    return out + "</tbody></table>";
}

bool has_sketches(const std::vector<Group>& groups) {
    return std::ranges::any_of(groups, [](const Group& group) {
        return std::ranges::any_of(layers_of(group),
                                   [](const Json& layer) { return layer.contains("sketch"); });
    });
}

/// What the sketches of each layer kept, and how often it was left exact.
std::string sketch_table(const std::vector<Group>& groups) {
    std::vector<std::string> head{"layer"};
    for (const Group& group : groups) head.push_back(group.label);
    std::string out = "<table><thead>" + row(head, "th") + "</thead><tbody>";
    const auto shown = [](const Json& layer) -> std::string {
        const auto of = [&](const char* what) { return number(layer, {"sketch", what}); };
        if (std::isnan(of("calls"))) return "–";
        std::string exact = fmt::format("{:.0f} of {:.0f} exact", of("exact"), of("calls"));
        if (std::isnan(of("kept"))) return exact;
        return fmt::format("rank {:.1f} · keeps {:.3f}, at least {:.3f} · {}", of("rank"),
                           of("kept"), of("least_kept"), exact);
    };
    const Json& first = layers_of(groups.front());
    for (std::size_t i = 0; i < first.size(); ++i) {
        std::vector<std::string> cells{first[i].value("name", "")};
        for (const Group& group : groups)
            cells.push_back(shown(i < layers_of(group).size() ? layers_of(group)[i] : Json()));
        out += row(cells);
    }
    return out + "</tbody></table>";
}

Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(); }
Json points(const Curve& curve) {
    Json out = Json::array();
    for (const auto& [x, y] : curve) out.push_back({{"x", x}, {"y", finite(y)}});
    return out;
}

Json spread_points(const SpreadCurves& spread) {
    return {{"mean", points(spread.mean)},
            {"least", points(spread.least)},
            {"most", points(spread.most)}};
}

/// What report.js draws.
Json chart_data(const std::vector<Group>& groups) {
    Json out = {{"groups", Json::array()}};
    for (const Group& g : groups) {
        Json group = {{"label", g.label}, {"method", g.method}, {"layers", Json::array()}};
        for (const Run& run : g.runs)
            group["runs"].push_back({{"loss", points(run.loss)},
                                     {"accuracy", points(run.accuracy)},
                                     {"ranks_x", spread_points(run.ranks_x)},
                                     {"ranks_g", spread_points(run.ranks_g)},
                                     {"kept", spread_points(run.kept)}});
        for (const char* phase : {"g_w", "g_x", "compress", "calibrate"})
            group["flops"][phase] = finite(statistics(g, {"flops", phase}).mean);
        for (const char* phase : {"forward", "backward", "calibrate", "optimizer", "total"})
            group["seconds"][phase] = finite(statistics(g, {"seconds", phase}).mean);
        const double saved = statistics(g, {"bytes", "saved_per_sample"}).mean;
        const double linear = statistics(g, {"bytes", "saved_per_sample_linear"}).mean;
        group["saved"] = {{"linear", finite(linear)}, {"other", finite(saved - linear)}};
        for (const Json& layer : layers_of(g)) {
            Json entry = {{"name", layer.value("name", "")}};
            for (const char* key : {"rank_x", "rank_g"}) entry[key] = finite(number(layer, {key}));
            const auto length = [&](const char* side, const char* channels) {
                const Json of = layer.value(side, layer.value("side", Json()));
                return finite(number(layer, {of == "channel" ? channels : "L"}));
            };
            entry["length_x"] = length("side_x", "Cx");
            entry["length_g"] = length("side_g", "Cy");
            group["layers"].push_back(entry);
        }
        out["groups"].push_back(group);
    }
    return out;
}

struct Chart {
    const char *id, *title, *caption;
};
constexpr Chart charts[] = {
    {"loss", "Training loss",
     "Lower is better. All methods start from the same weights and see the same batches in the "
     "same "
     "order, so curves that lie together mean that the compressed gradients lead the same way."},
    {"accuracy", "Test accuracy",
     "The share of test samples that the model names correctly, measured after each epoch. What a "
     "method saves counts only as far as this stays near vanilla."},
    {"flops", "Backward work of the linear layers",
     "Operations counted while the run executed. g_w and g_x are the two products of backward, "
     "compress is what the method adds to forward, calibrate is the cost of finding the "
     "projections, which the paper's tables leave out."},
    {"saved", "Saved for backward",
     "Memory that one sample occupies between its forward and its backward pass. Methods that "
     "compress x (compress-x, instant) shrink the linear layers' part; attention, normalisation "
     "and "
     "activations keep theirs."},
    {"seconds", "Time by phase",
     "Wall-clock time on this machine. Fewer operations do not give the same gain in time: small "
     "products run less efficiently than large ones."},
    {"rank_x", "Rank of what is saved (x), by layer",
     "How many directions are kept of each layer's input. Grey bars: the full length of the "
     "compressed axis, which vanilla keeps."},
    {"rank_g", "Rank of the gradient (g), by layer",
     "How many directions are kept of each layer's output gradient when g_x is made. Grey bars: "
     "the full length of the compressed axis."},
    {"ranks_x", "Ranks of x over the calibrations",
     "Lines: the mean over the layers at each calibration. Bands: from the layer with the smallest "
     "rank to that with the largest. A line that falls or rises shows how the subspaces that hold "
     "the energy change as training goes on."},
    {"ranks_g", "Ranks of g over the calibrations, or of sketches",
     "The same for the gradients of the layers' outputs."},
    {"kept", "What sketches keep of the gradients",
     "The share of each output gradient's energy that its sketch holds. Lines: the mean over the "
     "layers. Bands: from the least of any layer and step to the layer that keeps most. 1 is an "
     "exact "
     "backward."},
};

std::string option_list(const Json& options) {
    std::string out;
    for (const auto& [key, value] : options.items())
        if (!value.is_null() && key != "method" && key != "out")
            out += fmt::format("<span class=\"option\">{} <b>{}</b></span> ", escape(key),
                               escape(value.is_string() ? value.get<std::string>() : inert(value)));
    return out;
}

std::string page(const std::vector<Group>& groups) {
    const Run& first = groups.front().runs.front();
    const std::string subject = fmt::format("{} on {}", first.config.value("model", "model"),
                                            first.config.value("data", "data"));
    std::string out = fmt::format(
        "{2}{0}</title><style>{1}</style></head><body>\n"
        "<header><h1>{0}</h1><p>The same training run, once for each backward "
        "method.</p></header>\n",
        escape(subject), assets::report_css, html::page_begin);
    out +=
        "<section><h2>Side by side</h2><div class=\"scroll\">" + comparison_table(groups) +
        "</div><p class=\"caption\">“Less” is how many times less than vanilla. Ranks are means "
        "over layers and calibrations. “Majority class” is what calling every test sample by the "
        "most frequent class of the training set gets. Operations are "
        "those of the whole run; peaks are the library's own count of its buffers and the "
        "largest real size of the process.</p></section>\n"
        "<noscript><p class=\"caption\">The charts need JavaScript; the tables below hold the "
        "same numbers.</p></noscript>\n<section class=\"charts\">";
    for (const Chart& chart : charts)
        out += fmt::format(
            "<figure id=\"figure-{0}\"><h2>{1}</h2><div class=\"canvas\"><canvas id=\"{0}\" "
            "role=\"img\" "
            "aria-label=\"{1}\"></canvas></div><figcaption>{2}</figcaption></figure>\n",
            chart.id, chart.title, escape(chart.caption));
    out += "</section>\n<section><h2>The numbers behind the charts</h2><h3>Operations</h3>" +
           phase_table(groups, "flops",
                       {"forward", "g_w", "g_x", "compress", "calibrate", "optimizer", "total"},
                       flops) +
           "<h3>Time</h3>" +
           phase_table(groups, "seconds",
                       {"forward", "backward", "calibrate", "optimizer", "total"}, seconds) +
           "<h3>Ranks by layer</h3>" + rank_table(groups) +
           "<p class=\"caption\">Of the last calibration, in brackets the smallest and the largest "
           "over all of them. “exact (30)”: rank 30 would cost more operations than it "
           "saves, and the slot is left uncompressed.</p>";
    if (has_sketches(groups))
        out +=
            "<h3>Sketches by layer</h3>" + sketch_table(groups) +
            "<p class=\"caption\">Means over the steps of the first run. A call stays exact where "
            "a sketch would cost more than it saves, or loses twice what it may.</p>";
    out += "</section>\n";
    out += "<section><h2>How it was run</h2><p>" + option_list(first.config) + "</p><p>" +
           option_list(first.summary.value("environment", Json::object())) + "</p></section>\n";
    out += fmt::format(
        "<script type=\"application/json\" id=\"data\">{}</script>\n<script>{}</script>\n"
        "<script>{}{}</script>\n</body></html>\n",
        inert(chart_data(groups)), assets::chart_js, assets::chart_style_js, assets::report_js);
    return out;
}

}  // namespace
}  // namespace report

void write_report(const std::vector<std::string>& run_dirs, const std::string& html_path) {
    require(!run_dirs.empty(), "[report] expected at least one run directory");
    html::require_replaceable(html_path);
    std::vector<report::Run> runs;
    for (const std::string& directory : run_dirs) runs.push_back(report::read_run(directory));
    std::string html;
    try {
        html = report::page(report::group_runs(std::move(runs)));
    } catch (const report::Json::exception& error) {
        fail("[report] a field of config.json or summary.json has an unexpected type: {}",
             error.what());
    }
    write_file(html_path, html);
}

}  // namespace slimgrad
