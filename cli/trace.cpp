#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "train/step_trace.h"
#include "train/table.h"
#include "train/timeline_page.h"

namespace slimgrad::cli {
namespace {

struct Options {
    bool json = false;
    TraceOptions trace;
    std::string out, chrome;
    std::unique_ptr<RunOptions> run;
};

int trace_command(Options& options) {
    TraceOptions& trace = options.trace;
    trace.base = options.run->config();
    trace.given = options.run->given();
    trace.page = options.out;
    trace.chrome = options.chrome;
    const nlohmann::json document =
        slimgrad::trace(trace, [](const std::string& note) { print_notes({note}); });
    if (options.json) {
        print_json(document);
        return exit_done;
    }
    fmt::print("step {} of {} on {}, batch {}; categories are those at the peak\n{}\n",
               trace.warmup_steps, document["model"].get<std::string>(),
               document["data"].get<std::string>(), document["samples"].get<std::int64_t>(),
               Table{method_rows(document)}.text());
    fmt::print(
        "the largest holders at the peak of {}; what other methods keep of them stands to the "
        "right\n{}",
        document["methods"][0]["method"].get<std::string>(), Table{holder_rows(document)}.text());
    if (!options.out.empty()) fmt::print("\npage: {}\n", options.out);
    if (!options.chrome.empty()) fmt::print("trace for ui.perfetto.dev: {}\n", options.chrome);
    return exit_done;
}

}  // namespace

Action add_trace(CLI::App& program) {
    auto options = std::make_shared<Options>();
    CLI::App* command = add_command(
        program, "trace",
        "One training step as a timeline: who holds which bytes when, and what each call takes",
        "slimgrad trace --model vit-micro --methods vanilla,instant --batch 128 --out trace.html\n"
        "  slimgrad trace --methods vanilla,instant:oversample=0,gact --chrome trace.json",
        options->json);
    TraceOptions& trace = options->trace;
    add_option(*command, methods_of_trace_option(), trace.methods);
    add_option(*command, warmup_steps_option(), trace.warmup_steps);
    add_option(*command, {"out", AnyText{}, "page to write, HTML that needs no network"},
               options->out);
    add_option(*command,
               {"chrome", AnyText{}, "file to write, JSON for Perfetto and chrome://tracing"},
               options->chrome);
    command->add_flag("--quiet", trace.quiet, "no progress on standard error");
    const std::vector<std::string>& without = not_for_a_trace();
    options->run = std::make_unique<RunOptions>(
        *command, std::set<std::string>(without.begin(), without.end()));
    return [options] { return trace_command(*options); };
}

}  // namespace slimgrad::cli
