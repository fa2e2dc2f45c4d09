#include "train/timeline_page.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string_view>

#include "data/file.h"
#include "train/html.h"
#include "train/units.h"

namespace slimgrad {
namespace assets {
extern const std::string_view report_css, trace_css, trace_js;
}  // namespace assets

namespace {

using html::escape;
using nlohmann::json;
using Rows = std::vector<std::vector<std::string>>;

std::string milliseconds(double seconds) { return fmt::format("{:.2f} ms", 1e3 * seconds); }
std::string bytes(const json& number) { return units::bytes(number.get<double>()); }

double seconds_of(const json& method, std::string_view part) {
    double sum = 0;
    for (const json& call : method.at("calls"))
        if (call.at("part") == part) sum += call.at("seconds").get<double>();
    return sum;
}

/// "blocks.1.attn, forward": where a peak was reached.
std::string place_of(const json& peak) {
    const json& call = peak.at("call");
    if (call.is_null()) return "between calls";
    return fmt::format("{}, {}", call.at("layer").get<std::string>(),
                       call.at("part").get<std::string>());
}

std::string table_of(const Rows& rows) {
    std::string out = "<div class=\"scroll\"><table><thead>";
    for (std::size_t r = 0; r < rows.size(); ++r) {
        out += "<tr>";
        for (std::size_t i = 0; i < rows[r].size(); ++i)
            out +=
                fmt::format("<{0}>{1}</{0}>", r == 0 || i == 0 ? "th" : "td", escape(rows[r][i]));
        out += r == 0 ? "</tr></thead><tbody>\n" : "</tr>\n";
    }
    return out + "</tbody></table></div>\n";
}

Rows call_rows(const json& method) {
    Rows rows{{"call", "part", "FLOPs", "ms", "of it"}};
    for (const json& call : method.at("calls")) {
        std::string phases;
        if (call.at("phases").size() > 1)
            for (const auto& [phase, count] : call.at("phases").items())
                phases += fmt::format("{}{} {}", phases.empty() ? "" : ", ", phase,
                                      units::flops(count.get<double>()));
        rows.push_back({call.at("layer"), call.at("part"),
                        units::flops(call.at("flops").get<double>()),
                        fmt::format("{:.3f}", 1e3 * call.at("seconds").get<double>()), phases});
    }
    return rows;
}

std::string calls_section(const json& document) {
    std::string out = "<section><h2>Every call</h2>\n";
    for (const json& method : document.at("methods"))
        out += fmt::format(
            "<details><summary>{}: {} calls, {}, {}</summary>{}</details>\n",
            escape(method.at("method").get<std::string>()), method.at("calls").size(),
            units::flops(method.at("flops").get<double>()),
            milliseconds(method.at("seconds").get<double>()), table_of(call_rows(method)));
    return out + "</section>\n";
}

std::string environment_section(const json& environment) {
    std::string out = "<section><h2>How it was run</h2><p>";
    for (const auto& [key, value] : environment.items())
        out += fmt::format("<span class=\"option\">{} <b>{}</b></span> ", escape(key),
                           escape(value.is_string() ? value.get<std::string>() : value.dump()));
    return out + "</p></section>\n";
}

constexpr std::string_view charts_section =
    "<section><h2>What is held over the step</h2>\n"
    "<noscript><p class=\"caption\">The charts need JavaScript; the tables hold the same "
    "numbers.</p></noscript>\n<div id=\"tools\"></div><div id=\"charts\"></div>\n"
    "<p class=\"caption\">Each column is the time between two events, as high as the most that was "
    "held in it. Forward fills what is saved, backward empties it from the end. Workspace is what "
    "lives for a moment alone. A value that several layers keep belongs to the first of them. "
    "Below: "
    "what each call takes.</p></section>\n";

}  // namespace

std::vector<std::vector<std::string>> method_rows(const json& document) {
    Rows rows{{"method", "peak", "in", "saved by forward", "parameters", "gradients", "optimizer",
               "projectors", "FLOPs", "forward", "backward", "update"}};
    for (const json& method : document.at("methods")) {
        const json &peak = method.at("peak"), &held = peak.at("categories");
        rows.push_back({method.at("method"), bytes(peak.at("bytes")), place_of(peak),
                        bytes(method.at("saved_after_forward")), bytes(held.at("parameters")),
                        bytes(held.at("gradients")), bytes(held.at("optimizer")),
                        bytes(held.at("projectors")),
                        units::flops(method.at("flops").get<double>()),
                        milliseconds(seconds_of(method, "forward")),
                        milliseconds(seconds_of(method, "backward")),
                        milliseconds(seconds_of(method, "update"))});
    }
    return rows;
}

std::vector<std::vector<std::string>> holder_rows(const json& document) {
    Rows rows{{"layer", "slot", "category", "shape", "bytes", "share"}};
    const json& methods = document.at("methods");
    for (std::size_t i = 1; i < methods.size(); ++i) rows[0].push_back(methods[i].at("method"));
    for (const json& holder : document.at("holders")) {
        const std::string layer = holder.at("layer"), slot = holder.at("slot");
        const char* const none = slot.empty() ? "(all layers)" : "(the model)";
        std::vector<std::string> row{
            layer.empty() ? none : layer,
            slot,
            holder.at("category"),
            holder.at("shape"),
            bytes(holder.at("bytes")),
            fmt::format("{:.1f} %", 100 * holder.at("share").get<double>())};
        for (std::size_t i = 1; i < methods.size(); ++i)
            row.push_back(bytes(holder.at("kept").at(methods[i].at("method").get<std::string>())));
        rows.push_back(std::move(row));
    }
    return rows;
}

std::string timeline_page(const json& document) {
    const std::string title =
        fmt::format("one training step of {} on {}", document.at("model").get<std::string>(),
                    document.at("data").get<std::string>());
    const std::string first = document.at("methods").at(0).at("method");
    std::string page = fmt::format(
        "{0}{1}</title><style>{2}{3}</style></head><body>\n<header><h1>{1}</h1>"
        "<p>Step {4}, a batch of {5} samples, seed {6}.</p></header>\n"
        "<section><h2>Side by side</h2>{7}<p class=\"caption\">Categories are those at the "
        "peak.</p></section>\n",
        html::page_begin, escape(title), assets::report_css, assets::trace_css,
        document.at("step").get<std::int64_t>(), document.at("samples").get<std::int64_t>(),
        document.at("seed").get<std::uint64_t>(), table_of(method_rows(document)));
    page += charts_section;
    page += fmt::format(
        "<section><h2>The largest holders at the peak of {}</h2>\n{}<p class=\"caption\">The last "
        "columns: what other methods hold there, in whatever form; of all layers, "
        "what the method has at its own peak.</p></section>\n",
        escape(first), table_of(holder_rows(document)));
    page += calls_section(document) + environment_section(document.at("environment"));
    return page + fmt::format(
                      "<script type=\"application/json\" id=\"data\">{}</script>\n"
                      "<script>{}</script>\n</body></html>\n",
                      html::inert(document), assets::trace_js);
}

void require_timeline_place(const std::filesystem::path& file) { html::require_replaceable(file); }

void write_timeline_page(const json& document, const std::filesystem::path& file) {
    require_timeline_place(file);
    write_file(file, timeline_page(document));
}

}  // namespace slimgrad
