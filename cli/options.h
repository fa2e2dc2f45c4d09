#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "train/config.h"

namespace slimgrad::cli {

/// The options of a run on a command line: every entry of for_each_option as `--with-dashes`, and
/// `--config FILE` for a JSON file that they override.
class RunOptions {
  public:
    enum class Pick { all_but, only };
    /// Adds all options but those named, or those only.
    RunOptions(CLI::App& command, const std::set<std::string>& names = {},
               Pick pick = Pick::all_but);

    /// The file, overridden by what was given. Throws Error if the file is not a configuration.
    TrainConfig config() const { return config_over(file_); }
    /// What was given over another file instead; over nothing if that is empty.
    TrainConfig config_over(const std::string& file) const;
    /// The flags of what was given, "--lr".
    std::vector<std::string> given() const;

  private:
    TrainConfig parsed_;
    std::string file_;
    std::map<std::string, CLI::Option*> options_;  // by name in JSON
};

/// "data_dir" as it stands on the command line: "--data-dir".
std::string flag(const std::string& name);
/// The command line that gives a run this configuration: flags and values in turn.
std::vector<std::string> arguments(const TrainConfig& config);
/// "a,b,c" in parts. Throws Error, naming `option`, if a part is empty.
std::vector<std::string> split_list(const std::string& option, const std::string& list);

}  // namespace slimgrad::cli
