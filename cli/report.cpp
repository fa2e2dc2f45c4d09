#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "train/report.h"

namespace slimgrad::cli {
namespace {

struct Options {
    bool json = false;
    std::vector<std::string> runs;
    std::string out;
};

int report(const Options& options) {
    std::string out = options.out;
    if (out.empty())
        out = options.runs.size() == 1
                  ? (std::filesystem::path(options.runs.front()) / "report.html").string()
                  : "report.html";
    write_report(options.runs, out);
    if (options.json)
        print_json(nlohmann::json{{"report", out}, {"runs", options.runs}});
    else
        fmt::print("{}\n", out);
    return exit_done;
}

}  // namespace

Action add_report(CLI::App& program) {
    auto options = std::make_shared<Options>();
    CLI::App* command =
        add_command(program, "report", "One self-contained HTML page for one run or several",
                    "slimgrad report runs/vanilla runs/instant --out report.html", options->json);
    add_argument(*command, {"runs", AnyText{}, "run directories"}, options->runs)->required();
    add_option(
        *command,
        {"out", AnyText{}, "page to write (default: report.html, in the run if there is one)"},
        options->out);
    return [options] { return report(*options); };
}

}  // namespace slimgrad::cli
