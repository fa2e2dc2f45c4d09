#include "train/figures.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "data/file.h"
#include "tensor/error.h"
#include "train/html.h"

namespace slimgrad {
namespace assets {
extern const std::string_view chart_js, chart_style_js, figures_js, report_css;
}  // namespace assets

namespace {

using html::escape;
using nlohmann::json;

json numbers(const std::vector<double>& values) {
    json out = json::array();
    for (const double value : values) out.push_back(std::isfinite(value) ? json(value) : json());
    return out;
}

/// What figures.js draws.
json chart_data(const std::string& id, const LineChart& chart) {
    json out = {{"id", id},
                {"title", chart.title},
                {"x_label", chart.x_label},
                {"y_label", chart.y_label},
                {"log_y", chart.log_y},
                {"categories", chart.categories},
                {"marks", json::array()},
                {"series", json::array()}};
    for (const auto& [x, word] : chart.marks)
        if (std::isfinite(x)) out["marks"].push_back({{"x", x}, {"label", word}});
    for (const Series& s : chart.series)
        out["series"].push_back({{"label", s.label},
                                 {"line", s.line},
                                 {"x", numbers(s.x)},
                                 {"y", numbers(s.y)},
                                 {"low", numbers(s.low)},
                                 {"high", numbers(s.high)}});
    return out;
}

std::string canvas(const std::string& id, const LineChart& chart) {
    const int height = chart.categories.empty() ? 380 : 480;  // names of layers stand upright
    return fmt::format(
        "<figure><div class=\"canvas\" style=\"height: {}px\"><canvas id=\"{}\" role=\"img\" "
        "aria-label=\"{}\"></canvas></div></figure>\n",
        height, escape(id), escape(chart.title));
}

std::string table_of(const std::vector<std::vector<std::string>>& rows) {
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

}  // namespace

std::string figures_page(const std::string& title, const std::string& introduction,
                         const std::vector<Figure>& figures) {
    std::string page = fmt::format(
        "{3}{0}</title><style>{1}</style></head><body>\n"
        "<header><h1>{0}</h1><p>{2}</p></header>\n"
        "<noscript><p class=\"caption\">The charts need JavaScript; the files beside this page "
        "hold the same numbers.</p></noscript>\n",
        escape(title), assets::report_css, escape(introduction), html::page_begin);
    json charts = json::array();
    for (const Figure& figure : figures) {
        page += fmt::format("<section><h2>{}</h2>\n", escape(figure.title));
        if (figure.chart) {
            page += canvas(figure.id, *figure.chart);
            charts.push_back(chart_data(figure.id, *figure.chart));
        }
        page += fmt::format("<p class=\"caption\">{}</p>\n", escape(figure.caption));
        if (!figure.table.empty()) page += table_of(figure.table);
        page += "</section>\n";
    }
    return page + fmt::format(
                      "<script type=\"application/json\" id=\"data\">{}</script>\n"
                      "<script>{}</script>\n<script>{}{}</script>\n</body></html>\n",
                      html::inert(charts), assets::chart_js, assets::chart_style_js,
                      assets::figures_js);
}

void write_figures(const std::filesystem::path& directory, const std::string& title,
                   const std::string& introduction, const std::vector<Figure>& figures) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    require(!error, "[report] cannot create the directory '{}': {}", directory.string(),
            error.message());
    html::require_replaceable(directory / "report.html");
    write_file(directory / "report.html", figures_page(title, introduction, figures));
}

}  // namespace slimgrad
