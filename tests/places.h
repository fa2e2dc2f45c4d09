#pragma once

#include <filesystem>

namespace slimgrad {

// Paths of this machine, told to one file: a command that compiles a test is then the same wherever
// the tree lies, and a compiler cache knows it again.

/// The folder `tests` of the source tree.
std::filesystem::path tests_directory();
/// The command-line program that was built beside the tests.
const char* program_path();

}  // namespace slimgrad
