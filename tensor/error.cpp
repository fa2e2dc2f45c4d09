#include "tensor/error.h"

#include <algorithm>

namespace slimgrad {
namespace {

/// How many bytes the character of UTF-8 has that begins a text; 0 if it begins with none.
std::size_t character(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned first = byte(0);
    const std::size_t length = first < 0x80    ? 1
                               : first < 0xc2  ? 0
                               : first < 0xe0  ? 2
                               : first < 0xf0  ? 3
                               : first <= 0xf4 ? 4
                                               : 0;
    if (length > text.size()) return 0;
    for (std::size_t i = 1; i < length; ++i)
        if (byte(i) >> 6 != 2) return 0;
    // Not the shortest form, half of a pair of UTF-16, or beyond U+10FFFF.
    const bool wrong =
        length > 2 && ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) >= 0xa0) ||
                       (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) >= 0x90));
    return wrong ? 0 : length;
}

}  // namespace

std::string on_one_line(std::string_view text) {
    std::string line;
    while (!text.empty()) {
        const std::size_t length = character(text);
        const auto byte = static_cast<unsigned char>(text[0]);
        if (byte == '\n')
            line += "\\n";
        else if (length == 0 || byte < ' ' || byte == 127)
            line += fmt::format("\\x{:02x}", byte);
        else
            line += text.substr(0, length);
        text.remove_prefix(std::max<std::size_t>(1, length));
    }
    return line;
}

}  // namespace slimgrad
