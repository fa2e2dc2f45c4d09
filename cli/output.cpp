#include "cli/output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "cli/commands.h"
#include "train/json_text.h"
#include "train/progress.h"

namespace slimgrad::cli {

void open_standard_streams() {
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (fcntl(stream, F_GETFD) >= 0) continue;
        // The lowest free descriptor is this one. Read only: what is printed shall not seem to
        // have arrived.
        if (open("/dev/null", O_RDONLY) != stream) std::_Exit(exit_failure);
    }
}

void print_json(const nlohmann::json& document) { fmt::print("{}", json_text(document)); }

int finish_output(int status) {
    errno = 0;
    std::cout.flush();
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
    const int error = errno;
    say(fmt::format("slimgrad: cannot write to standard output: {}\n",
                    error != 0 ? std::generic_category().message(error) : "it failed before"));
    return status == exit_done ? exit_failure : status;
}

}  // namespace slimgrad::cli
