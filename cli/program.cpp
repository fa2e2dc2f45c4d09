#include <fmt/format.h>
#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <map>
#include <new>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <vector>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/program.h"
#include "tensor/error.h"
#include "tensor/instructions.h"
#include "tensor/option.h"
#include "train/progress.h"

namespace slimgrad::cli {

CLI::App* add_command(CLI::App& program, const std::string& name, const std::string& what,
                      const std::string& example, bool& json) {
    CLI::App* command = program.add_subcommand(name, what);
    command->add_flag("--json", json, "print one JSON document on standard output");
    command->footer("\nExample:\n  " + example);
    return command;
}

namespace {

/// Names of files and the like may hold anything; a message is one line.
std::string one_line(const std::string& message) {
    std::string line;
    for (const char c : message)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
            line += fmt::format("\\x{:02x}", c);
        else
            line += c;
    return line;
}

int usage_error(const std::string& message) {
    say(fmt::format("slimgrad: {}\n", one_line(message)));
    return exit_usage;
}

/// A flag stands alone, or as --flag=true and --flag=false. (Left to itself, CLI11 takes any
/// number.)
void make_flags_strict(CLI::App& app) {
    for (CLI::Option* option : app.get_options())
        if (option->get_expected_max() == 0) option->check(CLI::IsMember({"true", "false"}));
    for (CLI::App* command : app.get_subcommands({})) make_flags_strict(*command);
}

/// CLI11 takes --overwrite= for --overwrite, as if there were no variable of the shell behind it.
void refuse_empty_values(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        require(!word.starts_with("--") || word.find('=') + 1 != word.size(),
                "expected a value after {}, got an empty text. Hint: is a variable of the shell "
                "not set?",
                shown(word));
    }
}

int run(int argc, char** argv) {
    refuse_empty_values(argc, argv);
    CLI::App program("Low-rank backpropagation, from scratch: to read, to measure, to trust.",
                     "slimgrad");
    program.footer("\nExample:\n  slimgrad train --method instant --epochs 2 --out runs/first");
    program.set_version_flag("--version", SLIMGRAD_VERSION);
    program.require_subcommand(1);
    const std::map<std::string, Action> actions = {
        {"train", add_train(program)},     {"eval", add_eval(program)},
        {"compare", add_compare(program)}, {"cost", add_cost(program)},
        {"snr", add_snr(program)},         {"report", add_report(program)},
        {"info", add_info(program)},       {"data", add_data(program)},
        {"bench", add_bench(program)},     {"trace", add_trace(program)}};
    make_flags_strict(program);

    if (argc < 2 || (argv[1][0] != '-' && !actions.contains(argv[1]))) {
        std::vector<std::string> known;
        for (const auto& [name, action] : actions) known.push_back(name);
        const std::string what =
            argc < 2 ? "expected a command" : fmt::format("unknown command '{}'", argv[1]);
        return usage_error(
            fmt::format("{}. Known: {}. Hint: slimgrad --help", what, fmt::join(known, ", ")));
    }
    try {
        program.parse(argc, argv);
    } catch (const CLI::Success& success) {  // --help, --version
        return program.exit(success);
    } catch (const CLI::ParseError& error) {
        std::string message = error.what();
        std::ranges::replace(message, '\n', ' ');
        const bool known = argc > 1 && actions.contains(argv[1]);
        return usage_error(fmt::format("{}. Hint: slimgrad {}--help", message,
                                       known ? std::string(argv[1]) + " " : ""));
    }
    return actions.at(program.get_subcommands().front()->get_name())();
}

/// With OMP_PROC_BIND set, libgomp has bound this thread to one processor when it was loaded. What
/// comes next must see all of them again.
void unbind() {
    cpu_set_t all;
    CPU_ZERO(&all);
    for (int place = 0; place < omp_get_num_places(); ++place) {
        std::vector<int> processors(static_cast<std::size_t>(omp_get_place_num_procs(place)));
        omp_get_place_proc_ids(place, processors.data());
        for (const int processor : processors) CPU_SET(static_cast<std::size_t>(processor), &all);
    }
    if (CPU_COUNT(&all) > 0) sched_setaffinity(0, sizeof all, &all);
}

/// Threads of OpenMP that wait should soon fall asleep: where other programs run too, spinning ones
/// keep the processor from the very threads they wait for. libgomp reads this once, when it is
/// loaded, so the program starts itself again, unless the user has chosen.
void restart_with_short_waits(char** argv) {
    if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
    setenv("GOMP_SPINCOUNT", "10000", 0);
    std::error_code error;
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error) return;
    unbind();
    execv(program.c_str(), argv);  // returns only if it fails; then go on as we are
}

/// What is thrown in `run` as an exit status, and a line on standard error.
int checked_run(int argc, char** argv) {
    try {
        limited_to_avx2();  // before anything is computed
        return run(argc, argv);
    } catch (const Error& error) {
        return usage_error(error.what());
    } catch (const std::filesystem::filesystem_error& error) {
        return usage_error(
            fmt::format("cannot use '{}': {}", error.path1().string(), error.code().message()));
    } catch (const nlohmann::json::exception& error) {
        return usage_error(
            fmt::format("a file of JSON holds something else than expected: {}", error.what()));
    } catch (const std::bad_alloc&) {
        say("slimgrad: out of memory. Hint: a smaller batch, model or data set\n");
        return exit_failure;
    } catch (const std::exception& error) {
        if (std::ferror(stdout) != 0) return exit_done;  // finish_output() tells
        say(fmt::format("slimgrad: unexpected failure: {}\n", error.what()));
        return exit_failure;
    }
}

}  // namespace

int run_program(int argc, char** argv) {
    open_standard_streams();
    restart_with_short_waits(argv);
    ignore_write_signals();
    return finish_output(checked_run(argc, argv));
}

}  // namespace slimgrad::cli
