#include "train/figures.h"

#include <fmt/format.h>

#include "tensor/error.h"
#include "train/html.h"
#include "train/run_directory.h"

namespace slimgrad {
namespace assets {
extern const std::string_view report_css;
}  // namespace assets

namespace {

using html::escape;

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

void write_figures(const std::filesystem::path& directory, const std::string& title,
                   const std::string& introduction, const std::vector<Figure>& figures) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    require(!error, "[report] cannot create the directory '{}': {}", directory.string(),
            error.message());
    std::string page = fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
        "<title>slimgrad: {0}</title><style>{1}\nfigure svg {{ max-width: 100%; height: auto; }}"
        "</style></head><body>\n<header><h1>{0}</h1><p>{2}</p></header>\n",
        escape(title), assets::report_css, escape(introduction));
    for (const Figure& figure : figures) {
        page += fmt::format("<section><h2>{}</h2>\n", escape(figure.title));
        if (figure.chart) {
            const std::string drawing = svg(*figure.chart);
            write_file(directory / (figure.id + ".svg"), drawing);
            page += "<figure>" + drawing + "</figure>\n";
        }
        page += fmt::format("<p class=\"caption\">{}</p>\n", escape(figure.caption));
        if (!figure.table.empty()) page += table_of(figure.table);
        page += "</section>\n";
    }
    write_file(directory / "report.html", page + "</body></html>\n");
}

}  // namespace slimgrad
