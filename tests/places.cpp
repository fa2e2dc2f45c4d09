#include "tests/places.h"

namespace slimgrad {

std::filesystem::path tests_directory() { return SLIMGRAD_TESTS_DIRECTORY; }

const char* program_path() { return SLIMGRAD_PROGRAM; }

}  // namespace slimgrad
