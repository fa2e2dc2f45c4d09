#pragma once

#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "train/config.h"

namespace slimgrad::cli {

// Options of a command. Whatever is given is read strictly and checked against the option's range
// as soon as it is seen; what is empty, not UTF-8 or out of range is an Error, one line that names
// the command and the option.

/// What is done with one word of the command line. `where` begins messages: "[train]".
using Take =
    std::function<void(const std::string& where, const Option& option, const std::string& word)>;

/// Adds `--with-dashes VALUE`. `initial` is what help shows as the default.
CLI::Option* add_option(CLI::App& command, Option option, const std::string& initial, Take take);
/// Adds an argument without a name, or any number of them.
CLI::Option* add_argument(CLI::App& command, const Option& option, std::string& value);
CLI::Option* add_argument(CLI::App& command, const Option& option,
                          std::vector<std::string>& values);

/// "data_dir" as it stands on the command line: "--data-dir".
std::string flag(const std::string& name);
/// "a,b,c" in parts. Throws Error if one of several is empty or stands there twice.
std::vector<std::string> split_list(const std::string& where, const Option& option,
                                    const std::string& list);

/// The names of the options that a command was given, with underscores.
std::vector<std::string> given(const CLI::App& command);

std::string initial_text(const std::string& value);
template <class T>
std::string initial_text(const T& value) {
    return fmt::format("{}", value);
}
template <class T>
std::string initial_text(const std::optional<T>&) {
    return "";
}

/// An option that sets `value`.
CLI::Option* add_option(CLI::App& command, const Option& option, OptionValue& value);
template <class T>
CLI::Option* add_option(CLI::App& command, const Option& option, T& value) {
    return add_option(command, option, initial_text(value),
                      [&value](const auto& where, const Option& how, const std::string& word) {
                          parse_option(where, how, word, value);
                      });
}
/// A list with commas; the range is that of each part.
template <class T>
CLI::Option* add_option(CLI::App& command, const Option& option, std::vector<T>& values) {
    return add_option(command, option, fmt::format("{}", fmt::join(values, ",")),
                      [&values](const auto& where, const Option& how, const std::string& word) {
                          values.clear();
                          for (const std::string& part : split_list(where, how, word))
                              parse_option(where, how, part, values.emplace_back());
                      });
}

/// The options of a run on a command line: every entry of for_each_option as `--with-dashes`, and
/// `--config FILE` for a JSON file that they override, and `--recipe` that both do.
class RunOptions {
  public:
    enum class Pick { all_but, only };
    /// Adds all options but those named, or those only.
    RunOptions(CLI::App& command, const std::set<std::string>& names = {},
               Pick pick = Pick::all_but);

    /// The recipe, overridden by the file, overridden by what was given. Throws Error if the file
    /// is not a configuration.
    TrainConfig config() const { return config_over(""); }
    /// The same over the options of another file, if there is one.
    TrainConfig config_over(const std::string& base) const;
    /// The names of the options that were given, "lr"; the file is none of them.
    std::vector<std::string> given() const;
    bool has_file() const { return !file_.empty(); }

  private:
    TrainConfig parsed_;
    std::string file_, recipe_;
    std::map<std::string, CLI::Option*> options_;  // by name in JSON
};

/// The command line that gives a run this configuration: flags and values in turn.
std::vector<std::string> arguments(const TrainConfig& config);

/// Says on standard error that options were given that do nothing.
void print_notes(const std::vector<std::string>& notes);

}  // namespace slimgrad::cli
