#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "tensor/error.h"

namespace slimgrad::fuzz {

/// Ends the program, which libFuzzer takes for a failure.
inline void expect(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "not so: %s\n", what);
    std::abort();
}

/// Runs what reads an input: it may throw Error, of one line, and nothing else.
template <class Action>
void refuse_or_accept(Action&& action) {
    try {
        action();
    } catch (const Error& error) {
        expect(std::strpbrk(error.what(), "\r\n") == nullptr, "an Error has one line");
    }
}

/// The first byte of an input, which chooses what is done with the rest.
inline unsigned take_choice(std::string_view& input) {
    if (input.empty()) return 0;
    const unsigned choice = static_cast<unsigned char>(input.front());
    input.remove_prefix(1);
    return choice;
}

}  // namespace slimgrad::fuzz
