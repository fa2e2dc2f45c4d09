#pragma once

#include <string>
#include <vector>

namespace slimgrad::cli {

/// Runs this program again with other arguments, in a process of its own, its standard output
/// discarded, and waits for it. An interrupt is passed on. Returns its exit status, 128 + n if
/// signal n ended it. Throws Error if it cannot be started.
int run_self(const std::vector<std::string>& arguments);

/// Runs this program again with `input` as its standard input; returns its standard output. Throws
/// Error if it cannot be started or does not end with status 0.
std::string ask_self(const std::vector<std::string>& arguments, const std::string& input);

}  // namespace slimgrad::cli
