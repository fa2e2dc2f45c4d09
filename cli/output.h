#pragma once

#include <nlohmann/json_fwd.hpp>

namespace slimgrad::cli {

/// Descriptors 0 to 2 that the caller has closed lead to /dev/null from here on, so that no file
/// that is opened later gets what is printed. Printing fails as it would have.
void open_standard_streams();

/// Prints one JSON document on standard output.
void print_json(const nlohmann::json& document);

/// Hands over all that was printed. The exit status: `status`, or exit_failure with a line on
/// standard error if a command that was done could not say so.
int finish_output(int status);

}  // namespace slimgrad::cli
