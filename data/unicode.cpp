#include "data/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "tensor/error.h"

namespace slimgrad {
namespace {

struct Range {
    char32_t first, last;
};

template <std::size_t N>
bool contains(const std::array<Range, N>& sorted, char32_t c) {
    const auto above = std::ranges::upper_bound(sorted, c, {}, &Range::first);
    return above != sorted.begin() && c <= std::prev(above)->last;
}

// tests/data_tokenizer_test.cpp holds what comes of these tables against `tokenizers`, for every
// code point; where they differ it prints the ranges that are and those that should be.

/// Ranges with all marks, punctuation and format characters of Unicode 18 that `tokenizers` takes
/// for ordinary characters, and none that it does not.
constexpr std::array<Range, 44> later_categories{
    {{0x5C8, 0x5C9},     {0x61D, 0x61D},     {0x7FD, 0x7FD},     {0x890, 0x8E2},
     {0x9FD, 0x9FE},     {0xA76, 0xA76},     {0xAFA, 0xAFF},     {0xB53, 0xB55},
     {0xC04, 0xC3C},     {0xC77, 0xC77},     {0xC84, 0xC84},     {0xD00, 0xD00},
     {0xD3B, 0xD3C},     {0xD81, 0xD81},     {0xEBA, 0xEBA},     {0xECE, 0xECE},
     {0x180F, 0x1886},   {0x1ABF, 0x1AF0},   {0x1B4E, 0x1B4F},   {0x1B7D, 0x1B7F},
     {0x1DF6, 0x1DFB},   {0x2E43, 0x2E63},   {0xA82C, 0xA82C},   {0xA8C5, 0xA8C5},
     {0xA8FF, 0xA8FF},   {0xA9BD, 0xA9BD},   {0x10D24, 0x10F89}, {0x11070, 0x11074},
     {0x110C2, 0x110CD}, {0x111C9, 0x111C9}, {0x111CF, 0x111CF}, {0x1123E, 0x11241},
     {0x1133B, 0x1133B}, {0x113BB, 0x1145E}, {0x11660, 0x1166C}, {0x116B9, 0x116B9},
     {0x1182F, 0x11FFF}, {0x12FF1, 0x1612F}, {0x16D6D, 0x16F4F}, {0x16FE2, 0x16FE4},
     {0x1CF00, 0x1D128}, {0x1D25B, 0x1D25C}, {0x1E000, 0x1E6F5}, {0x1E944, 0x1E95F}}};

/// Ranges with all characters that decompose or have a combining class in Unicode 18 but not in
/// `tokenizers`, and none that does there.
constexpr std::array<Range, 23> later_compositions{
    {{0x5C8, 0x5C9},     {0x7FD, 0x7FD},     {0x897, 0x8D3},     {0x9FE, 0x9FE},
     {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},
     {0x1ABF, 0x1AF0},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x105C9, 0x105E4},
     {0x10D24, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x11383, 0x113D0},
     {0x1145E, 0x1145E}, {0x11839, 0x11A99}, {0x11D42, 0x1612F}, {0x16D68, 0x16FF1},
     {0x1D127, 0x1D128}, {0x1D250, 0x1D281}, {0x1E08F, 0x1E6F5}}};

/// Capitals of Unicode 16 and later: `tokenizers` knows their small letters, utf8proc 2.8 does not.
struct Capitals {
    char32_t first, last, small;  // the small letter of the first; the others follow
};
constexpr std::array<Capitals, 10> later_capitals{{{0x1C89, 0x1C89, 0x1C8A},
                                                   {0xA7CB, 0xA7CB, 0x264},
                                                   {0xA7CC, 0xA7CC, 0xA7CD},
                                                   {0xA7CE, 0xA7CE, 0xA7CF},
                                                   {0xA7D2, 0xA7D2, 0xA7D3},
                                                   {0xA7D4, 0xA7D4, 0xA7D5},
                                                   {0xA7DA, 0xA7DA, 0xA7DB},
                                                   {0xA7DC, 0xA7DC, 0x19B},
                                                   {0x10D50, 0x10D65, 0x10D70},
                                                   {0x16EA0, 0x16EB8, 0x16EBB}}};

/// Letters, marks and digits of Unicode 15.1 and 16, which utf8proc 2.8 does not know either.
constexpr std::array<Range, 32> later_words{
    {{0x897, 0x897},     {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},
     {0x105C0, 0x105F3}, {0x10D40, 0x10D65}, {0x10D69, 0x10D6D}, {0x10D6F, 0x10D85},
     {0x10EC2, 0x10EC4}, {0x10EFC, 0x10EFC}, {0x11380, 0x11389}, {0x1138B, 0x1138B},
     {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113C0}, {0x113C2, 0x113C2},
     {0x113C5, 0x113C5}, {0x113C7, 0x113CA}, {0x113CC, 0x113D3}, {0x113E1, 0x113E2},
     {0x116D0, 0x116E3}, {0x11BC0, 0x11BE0}, {0x11BF0, 0x11BF9}, {0x11F5A, 0x11F5A},
     {0x13460, 0x143FA}, {0x16100, 0x16139}, {0x16D40, 0x16D6C}, {0x16D70, 0x16D79},
     {0x18CFF, 0x18CFF}, {0x1CCF0, 0x1CCF9}, {0x1E5D0, 0x1E5FA}, {0x2EBF0, 0x2EE5D}}};

/// Letters in circles and squares: symbols by their category, alphabetic all the same.
constexpr std::array<Range, 4> alphabetic_symbols{
    {{0x24B6, 0x24E9}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}}};

utf8proc_int32_t number(char32_t c) { return static_cast<utf8proc_int32_t>(c); }

utf8proc_category_t category(char32_t c) {
    return contains(later_categories, c) ? UTF8PROC_CATEGORY_CN : utf8proc_category(number(c));
}

int combining_class(char32_t c) {
    return contains(later_compositions, c) ? 0 : utf8proc_get_property(number(c))->combining_class;
}

/// Reads one character at `at` and moves on; false where there is none.
bool read_character(std::string_view text, std::size_t& at, char32_t& c) {
    utf8proc_int32_t value = 0;
    const auto* const bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
    const utf8proc_ssize_t count =
        utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(text.size() - at), &value);
    if (count <= 0) return false;
    at += static_cast<std::size_t>(count);
    c = static_cast<char32_t>(value);
    return true;
}

}  // namespace

std::u32string decode_utf8(std::string_view text, std::string_view where) {
    std::u32string characters;
    characters.reserve(text.size());
    char32_t c = 0;
    for (std::size_t at = 0; at < text.size(); characters += c)
        if (!read_character(text, at, c))
            fail("{}: expected UTF-8, byte {} (0x{:02x}) begins no character", where, at,
                 static_cast<unsigned char>(text[at]));
    return characters;
}

std::size_t find_invalid_utf8(std::string_view text) {
    char32_t c = 0;
    for (std::size_t at = 0; at < text.size();)
        if (!read_character(text, at, c)) return at;
    return std::string_view::npos;
}

std::string encode_utf8(std::u32string_view text) {
    std::string bytes;
    bytes.reserve(text.size());
    for (const char32_t c : text) {
        std::array<utf8proc_uint8_t, 4> unit{};
        const utf8proc_ssize_t count = utf8proc_encode_char(number(c), unit.data());
        bytes.append(reinterpret_cast<const char*>(unit.data()), static_cast<std::size_t>(count));
    }
    return bytes;
}

bool is_whitespace(char32_t c) {
    if (c <= 0x20) return c == ' ' || (c >= '\t' && c <= '\r');
    if (c == 0x85) return true;
    const utf8proc_category_t kind = category(c);
    return kind == UTF8PROC_CATEGORY_ZS || kind == UTF8PROC_CATEGORY_ZL ||
           kind == UTF8PROC_CATEGORY_ZP;
}

bool is_control(char32_t c) {
    if (c == '\t' || c == '\n' || c == '\r') return false;
    const utf8proc_category_t kind = category(c);
    return kind == UTF8PROC_CATEGORY_CC || kind == UTF8PROC_CATEGORY_CF ||
           kind == UTF8PROC_CATEGORY_CO;
}

bool is_punctuation(char32_t c) {
    if (c < 0x80)
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
               (c >= '{' && c <= '~');
    // Punctuation in Unicode 8, a symbol and a mark today.
    if (c == 0x166D || c == 0x111C9) return true;
    const utf8proc_category_t kind = category(c);
    return kind >= UTF8PROC_CATEGORY_PC && kind <= UTF8PROC_CATEGORY_PO;
}

bool is_nonspacing_mark(char32_t c) {
    // Two that have become spacing marks since.
    if (c == 0x1734 || c == 0x1171E) return true;
    return c >= 0x300 && category(c) == UTF8PROC_CATEGORY_MN;
}

bool is_word(char32_t c) {
    if (c == 0x200C || c == 0x200D) return true;  // joiners
    const utf8proc_category_t kind = utf8proc_category(number(c));
    const bool letter_or_mark = kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_ME;
    return letter_or_mark || kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
           kind == UTF8PROC_CATEGORY_PC || contains(alphabetic_symbols, c) ||
           contains(later_words, c);
}

bool is_cjk(char32_t c) {
    static constexpr std::array<Range, 7> blocks{{{0x3400, 0x4DBF},
                                                  {0x4E00, 0x9FFF},
                                                  {0xF900, 0xFAFF},
                                                  {0x20000, 0x2A6DF},
                                                  {0x2A700, 0x2B81F},
                                                  {0x2B920, 0x2CEAF},
                                                  {0x2F800, 0x2FA1F}}};
    return contains(blocks, c);
}

std::u32string nfd(std::u32string_view text) {
    std::u32string result;
    result.reserve(text.size());
    for (const char32_t c : text) {
        if (c < 0xC0 || contains(later_compositions, c)) {
            result += c;
            continue;
        }
        std::array<utf8proc_int32_t, 8> parts{};  // the longest canonical decomposition has 4
        int boundary = 0;
        const utf8proc_ssize_t count = utf8proc_decompose_char(
            number(c), parts.data(), std::ssize(parts), UTF8PROC_DECOMPOSE, &boundary);
        require(count > 0 && count <= std::ssize(parts), "[unicode] cannot decompose U+{:04X}",
                static_cast<std::uint32_t>(c));
        for (utf8proc_ssize_t i = 0; i < count; ++i)
            result += static_cast<char32_t>(parts[static_cast<std::size_t>(i)]);
    }
    // Marks that follow one another stand in the order of their classes.
    for (auto begin = result.begin(); begin != result.end();) {
        begin = std::find_if(begin, result.end(), combining_class);
        const auto end = std::find_if_not(begin, result.end(), combining_class);
        std::stable_sort(begin, end, [](char32_t a, char32_t b) {
            return combining_class(a) < combining_class(b);
        });
        begin = end;
    }
    return result;
}

std::u32string lowercase(std::u32string_view text) {
    std::u32string result;
    result.reserve(text.size());
    for (const char32_t c : text) {
        const auto later = std::ranges::find_if(later_capitals, [&](const Capitals& range) {
            return c >= range.first && c <= range.last;
        });
        if (later != later_capitals.end())
            result.push_back(later->small + (c - later->first));
        else if (c == 0x130)
            result += U"i\u0307";
        else
            result += static_cast<char32_t>(utf8proc_tolower(number(c)));
    }
    return result;
}

}  // namespace slimgrad
