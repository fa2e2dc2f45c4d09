#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "bench/measure.h"
#include "bench/worker.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/subprocess.h"
#include "cli/table.h"
#include "tensor/blas.h"
#include "tensor/error.h"
#include "train/progress.h"

namespace slimgrad::cli {
namespace {

using nlohmann::json;

struct Options {
    bool json = false, quiet = false, no_verify = false, layers = false;
    std::vector<std::string> cases = {"linear/minilm-32x128x384", "step/minilm-32x128x384"};
    std::string methods = "vanilla,compress-x,compress-gy,instant";
    std::vector<std::int64_t> ranks = {16};
    std::optional<std::int64_t> rank_x, rank_g, batch;
    bench::MeasureOptions measure;
};

std::string milliseconds(double seconds) { return fmt::format("{:.3f}", 1e3 * seconds); }

std::string cell(const json& row, const char* key, const char* format) {
    return row.at(key).is_null() ? "-"
                                 : fmt::format(fmt::runtime(format), row.at(key).get<double>());
}

/// One line a measurement: phases in ms, the total with its quartiles, and ratios to vanilla.
std::string table_of(const json& rows) {
    std::vector<std::string> phases;
    for (const auto& [name, seconds] : rows.at(0).at("phases").items())
        if (name.find('.') == std::string::npos) phases.push_back(name);
    Table table{{{"ms (medians)", "threads"}}};
    auto& head = table.rows.front();
    head.insert(head.end(), phases.begin(), phases.end());
    for (const char* name : {"total", "quartiles", "speed-up", "of backward", "FLOPs", "realised"})
        head.emplace_back(name);
    for (const json& row : rows) {
        std::vector<std::string> cells = {row.at("label"), row.at("threads").dump()};
        for (const std::string& name : phases)
            cells.push_back(milliseconds(row.at("phases").at(name)));
        cells.push_back(milliseconds(row.at("seconds")));
        cells.push_back(milliseconds(row.at("quartiles")[0]) + " to " +
                        milliseconds(row.at("quartiles")[1]));
        cells.push_back(cell(row, "speedup", "{:.2f}x"));
        cells.push_back(cell(row, "speedup_backward", "{:.2f}x"));
        cells.push_back(cell(row, "flop_ratio", "{:.2f}x"));
        const json& realised = row.at("realised");
        cells.push_back(realised.is_null() || row.at("method") == "vanilla"
                            ? "-"
                            : fmt::format("{:.0f} %", 100 * realised.get<double>()));
        table.rows.push_back(std::move(cells));
    }
    return table.text();
}

/// Medians of each layer's compression and backward.
std::string layer_table(const json& rows) {
    Table table{{{"ms of each layer", "threads", "compress", "backward"}}};
    for (const json& row : rows)
        for (const auto& [name, seconds] : row.at("phases").items()) {
            if (!name.starts_with("backward.")) continue;
            const std::string layer = name.substr(9);
            table.rows.push_back(
                {row.at("label").get<std::string>() + " " + layer, row.at("threads").dump(),
                 milliseconds(row.at("phases").at("compress." + layer)), milliseconds(seconds)});
        }
    return table.text();
}

json environment() {
    return {{"version", SLIMGRAD_VERSION}, {"cpu", cpu_name()}, {"kernels", blas().kernels}};
}

int run(Options& o) {
    std::vector<bench::Case> cases;
    for (const std::string& word : o.cases)
        for (bench::Case& which : bench::find_cases(word)) {
            if (o.batch) which.size.batch = *o.batch;
            cases.push_back(std::move(which));
        }
    std::vector<bench::Ranks> ranks;
    for (const std::int64_t r : o.ranks)
        ranks.push_back({o.rank_x.value_or(r), o.rank_g.value_or(r), {}});
    const auto methods = split_list("--methods", o.methods);
    for (const std::string& method : methods) method_slots(method);
    catch_interrupts();
    Progress progress("bench", 0, 1, o.quiet);
    o.measure.stop = interrupted;
    o.measure.verify = !o.no_verify;

    json document = {{"environment", environment()}, {"rows", json::array()}};
    for (const bench::Case& which : cases) {
        if (interrupted()) break;
        if (!o.quiet) say(which.name + "\n");
        const json rows = bench::to_json(
            bench::measure(which, bench::variants_of(which, methods, ranks), o.measure));
        if (rows.empty()) continue;
        document["rows"].insert(document["rows"].end(), rows.begin(), rows.end());
        if (o.json) continue;
        fmt::print("{}: {}\n{}\n", which.name, which.what, table_of(rows));
        if (o.layers && which.kind == bench::Kind::linears) fmt::print("{}\n", layer_table(rows));
    }
    if (o.json) print_json(document);
    return interrupted() ? exit_interrupted : exit_done;
}

/// One process for each method, since a peak is that of a process; this one asks itself.
int memory(const Options& o, const std::string& name) {
    const auto methods = split_list("--methods", o.methods);
    Table table{{{"peak of a step, MiB", "process (VmHWM)", "ledger", "of it saved"}}};
    json document = json::array();
    for (const std::string& method : methods) {
        method_slots(method);
        json command = {{"do", "memory"},
                        {"case", name},
                        {"method", method},
                        {"steps", 4},
                        {"rank_x", o.rank_x.value_or(o.ranks.front())},
                        {"rank_g", o.rank_g.value_or(o.ranks.front())}};
        if (o.batch) command["batch"] = *o.batch;
        json answer = json::parse(ask_self({"bench", "worker"}, command.dump() + "\n"));
        require(!answer.contains("error"), "{}", answer.value("error", ""));
        const auto mib = [&](const char* key) {
            return fmt::format("{:.1f}", answer.at(key).get<double>() / (1 << 20));
        };
        table.rows.push_back({method, mib("peak_rss"), mib("ledger_peak"), mib("saved_peak")});
        answer["method"] = method;
        document.push_back(answer);
    }
    if (o.json)
        print_json(json{{"case", name}, {"rows", document}});
    else
        fmt::print("{}\n{}", name, table.text());
    return exit_done;
}

int list(bool as_json) {
    Table table{{{"case", "what", "batch", "tokens", "width", "blocks"}}};
    json document = json::array();
    for (const bench::Case& c : bench::cases()) {
        document.push_back({{"case", c.name}, {"what", c.what}});
        table.rows.push_back({c.name, c.what, std::to_string(c.size.batch),
                              std::to_string(c.size.tokens), std::to_string(c.size.width),
                              std::to_string(c.size.blocks)});
    }
    if (as_json)
        print_json(document);
    else
        fmt::print("{}", table.text());
    return exit_done;
}

}  // namespace

Action add_bench(CLI::App& program) {
    auto o = std::make_shared<Options>();
    CLI::App* command = add_command(
        program, "bench",
        "Times layers, blocks and training steps in every method, verified first, against the "
        "vanilla of the same run",
        "slimgrad bench linear/bert-32x128x768 --methods vanilla,instant --ranks 8,16 --threads "
        "1,2\n"
        "  slimgrad bench step --methods vanilla,instant\n"
        "  slimgrad bench memory --methods vanilla,instant\n"
        "  slimgrad bench list",
        o->json);
    CLI::App* listing = command->add_subcommand("list", "the cases by name");
    CLI::App* worker = command->add_subcommand(
        "worker", "runs what JSON commands on standard input ask for (bench/worker.h)");
    command->add_option("cases", o->cases, "cases by name, or a group of them: linear, step, ...");
    command->add_option("--methods", o->methods, "with commas")->capture_default_str();
    command->add_option("--ranks", o->ranks, "of both slots, with commas")
        ->delimiter(',')
        ->capture_default_str();
    command->add_option("--rank-x", o->rank_x, "of the x slot instead");
    command->add_option("--rank-g", o->rank_g, "of the g slot instead");
    command->add_option("--batch", o->batch, "samples instead of the case's own");
    command->add_option("--threads", o->measure.threads, "with commas")
        ->delimiter(',')
        ->capture_default_str();
    command->add_option("--rounds", o->measure.rounds, "repetitions of each variant")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    command->add_option("--warmup", o->measure.warmup, "repetitions before those that count")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    command->add_flag("--layers", o->layers, "a table of the single layers as well");
    command->add_flag("--no-verify", o->no_verify, "do not compare with the dense formulas first");
    command->add_flag("--quiet", o->quiet, "no progress on standard error");
    CLI::App* memory_of = command->add_subcommand(
        "memory", "peak memory of a training step in every method, a process each");
    auto step = std::make_shared<std::string>("step/minilm-32x128x384");
    memory_of->add_option("case", *step, "a step by name")->capture_default_str();
    // Options of the command hold for what stands under it too.
    for (CLI::App* under : {listing, worker, memory_of}) under->fallthrough();
    return [o, listing, worker, memory_of, step] {
        if (memory_of->parsed()) return memory(*o, *step);
        if (listing->parsed()) return list(o->json);
        if (!worker->parsed()) return run(*o);
        bench::serve(std::cin, std::cout);
        return exit_done;
    };
}

}  // namespace slimgrad::cli
