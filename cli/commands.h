#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace slimgrad::cli {

/// What a command does once its options are parsed; the result is the exit status.
using Action = std::function<int()>;

// Each adds one command to the program. What they share is in options.h and output.h.
Action add_train(CLI::App& program);
Action add_eval(CLI::App& program);
Action add_compare(CLI::App& program);
Action add_cost(CLI::App& program);
Action add_snr(CLI::App& program);
Action add_trace(CLI::App& program);
Action add_report(CLI::App& program);
Action add_info(CLI::App& program);
Action add_bench(CLI::App& program);
Action add_data(CLI::App& program);

/// A command with --json and an example at the end of its help.
CLI::App* add_command(CLI::App& program, const std::string& name, const std::string& what,
                      const std::string& example, bool& json);

inline constexpr int exit_done = 0, exit_failure = 1, exit_usage = 2, exit_interrupted = 130;

}  // namespace slimgrad::cli
