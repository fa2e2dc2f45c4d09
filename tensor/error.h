#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace slimgrad {

/// What a caller did wrong or what was wrong with its data: one line that names the operation, what
/// was expected and what came. The command-line program turns it into exit status 2.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// The text with control characters, and bytes that are no UTF-8, written out as \n or \x1b: names
/// of files may have any.
std::string on_one_line(std::string_view text);

/// Throws Error with a formatted message, on one line whatever stands in the arguments.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
    throw Error(on_one_line(fmt::format(format, std::forward<Args>(args)...)));
}

/// The same unless `condition` holds.
template <class... Args>
void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
    if (!condition) fail(format, std::forward<Args>(args)...);
}

}  // namespace slimgrad
