#include <fmt/format.h>

#include <algorithm>
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
#include "tensor/blas.h"
#include "tensor/error.h"
#include "train/progress.h"
#include "train/table.h"

namespace slimgrad::cli {
namespace {

using nlohmann::json;

struct Options {
    bool json = false, quiet = false, no_verify = false, layers = false;
    std::vector<std::string> cases = {"linear/minilm-32x128x384", "step/minilm-32x128x384"};
    std::vector<std::string> methods = instant_modes();
    std::vector<std::int64_t> ranks;  // none: 16, or the axis where that is shorter
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

/// The ranks that were asked for. Throws Error for one that this case would cut to its axis: it
/// would be measured under a name that is not its own.
std::vector<bench::Ranks> ranks_of(const Options& o, const bench::Case& which) {
    require(!which.ranks || (o.ranks.empty() && !o.rank_x && !o.rank_g),
            "[bench] {} has ranks of its own: leave out --ranks, --rank-x and --rank-g",
            which.name);
    require(o.ranks.empty() || !o.rank_x || !o.rank_g,
            "[bench] --ranks has no effect: both slots have their own");
    const std::int64_t most = bench::longest_rank(which);
    const auto check = [&](const char* name, std::int64_t rank) {
        const std::string where = fmt::format("[bench] {}:", which.name);
        check_option(where, {name, Integers{1, most}}, rank);
    };
    std::vector<bench::Ranks> ranks;
    for (const std::int64_t r :
         o.ranks.empty() ? std::vector{std::min<std::int64_t>(16, most)} : o.ranks)
        ranks.push_back({o.rank_x.value_or(r), o.rank_g.value_or(r), {}});
    for (const bench::Ranks& r : ranks) {
        check(o.rank_x ? "--rank-x" : "--ranks", r.x);
        check(o.rank_g ? "--rank-g" : "--ranks", r.g);
    }
    return ranks;
}

int run(Options& o) {
    for (const std::string& method : o.methods) bench::variant_of(method);  // before anything runs
    std::vector<std::pair<bench::Case, std::vector<bench::Ranks>>> cases;
    for (const std::string& word : o.cases)
        for (bench::Case& which : bench::find_cases(word)) {
            require(std::ranges::none_of(
                        cases, [&](const auto& one) { return one.first.name == which.name; }),
                    "[bench] expected each case once, got '{}' twice", which.name);
            if (o.batch) which.size.batch = *o.batch;
            auto ranks = ranks_of(o, which);
            cases.emplace_back(std::move(which), std::move(ranks));
        }
    require(!o.layers ||
                std::ranges::any_of(
                    cases, [](const auto& one) { return one.first.kind == bench::Kind::linears; }),
            "[bench] --layers has no effect: no case is of single layers");
    catch_interrupts();
    Progress progress("bench", 0, 1, o.quiet);
    o.measure.stop = interrupted;
    o.measure.verify = !o.no_verify;

    json document = {{"environment", environment()}, {"rows", json::array()}};
    for (const auto& [which, ranks] : cases) {
        if (interrupted()) break;
        if (!o.quiet) say(which.name + "\n");
        const json rows = bench::to_json(
            bench::measure(which, bench::variants_of(which, o.methods, ranks), o.measure));
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
    const bench::Case which = bench::find_case(name);
    const bench::Ranks ranks = ranks_of(o, which).front();
    Table table{{{"peak of a step, MiB", "process (VmHWM)", "ledger", "of it saved"}}};
    json document = json::array();
    for (const std::string& method : o.methods) {
        json command = {{"do", "memory"}, {"case", name},      {"method", method},
                        {"steps", 4},     {"rank_x", ranks.x}, {"rank_g", ranks.g}};
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

void add_measure_options(CLI::App& command, Options& o) {
    add_argument(command,
                 {"cases", AnyText{}, "cases by name, or a group of them: linear, step, ..."},
                 o.cases);
    const auto add = [&](const char* name, Range range, const char* help, auto& value) {
        add_option(command, {name, std::move(range), help}, value);
    };
    constexpr Integers ranks{1, 100'000}, rounds{1, 100'000};
    add("methods", AnyText{},
        "with commas; each may have options of its own, as in compare: sketch:keep-x=8", o.methods);
    add("ranks", ranks, "of both slots, with commas (default: 16, or the axis if that is shorter)",
        o.ranks);
    add("rank_x", ranks, "of the x slot instead", o.rank_x);
    add("rank_g", ranks, "of the g slot instead", o.rank_g);
    add("batch", batch_option().range, "samples instead of the case's own", o.batch);
    add("threads", Integers{1, max_threads()}, "with commas", o.measure.threads);
    add("rounds", rounds, "repetitions of each variant", o.measure.rounds);
    add("warmup", Integers{0, rounds.high}, "repetitions before those that count",
        o.measure.warmup);
    command.add_flag("--layers", o.layers, "a table of the single layers as well");
    command.add_flag("--no-verify", o.no_verify, "do not compare with the dense formulas first");
    command.add_flag("--quiet", o.quiet, "no progress on standard error");
}

/// Throws Error for an option that is not for `list`, `worker` or `memory`.
void refuse_idle(const CLI::App& command, const std::string& under) {
    std::set<std::string> used = {"json"};
    if (under == "memory") used.insert({"methods", "ranks", "rank_x", "rank_g", "batch"});
    for (const std::string& name : given(command))
        require(used.contains(name), "[bench] {} is not for {}", name, under);
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
    add_measure_options(*command, *o);
    CLI::App* memory_of = command->add_subcommand(
        "memory", "peak memory of a training step in every method, a process each");
    auto step = std::make_shared<std::string>("step/minilm-32x128x384");
    add_argument(*memory_of, {"case", AnyText{}, "a step by name"}, *step);
    // Options of the command hold for what stands under it too.
    for (CLI::App* under : {listing, worker, memory_of}) under->fallthrough();
    return [o, command, listing, worker, memory_of, step] {
        for (const CLI::App* under : {listing, worker, memory_of})
            if (under->parsed()) refuse_idle(*command, under->get_name());
        if (memory_of->parsed()) return memory(*o, *step);
        if (listing->parsed()) return list(o->json);
        if (!worker->parsed()) return run(*o);
        bench::serve(std::cin, std::cout);
        return exit_done;
    };
}

}  // namespace slimgrad::cli
