#pragma once

#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

#include "tensor/error.h"

namespace slimgrad::fuzz {

/// What a target does with one input; each file here defines it for its reader.
void read(std::string_view input);

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

/// The next part of an input, up to a zero, which no text of a format holds; and the zero.
inline std::string_view take_part(std::string_view& input) {
    const std::size_t end = std::min(input.find('\0'), input.size());
    const std::string_view part = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));
    return part;
}

inline std::span<const std::uint8_t> bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// A directory of this process, in memory where the system has such a place, for readers of files.
class Directory {
  public:
    Directory() {
        const char* const memory = "/dev/shm";
        const std::filesystem::path place =
            std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
        std::string name = (place / "slimgrad-fuzz-XXXXXX").string();
        expect(::mkdtemp(name.data()) != nullptr, "a directory can be made");
        path_ = name;
    }
    ~Directory() { std::filesystem::remove_all(path_); }
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path put(const char* name, std::string_view content) const {
        const std::filesystem::path file = path_ / name;
        std::ofstream(file, std::ios::binary).write(content.data(), std::ssize(content));
        return file;
    }

  private:
    std::filesystem::path path_;
};

}  // namespace slimgrad::fuzz
