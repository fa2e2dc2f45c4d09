#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace slimgrad {

/// What BERT's tokenization asks of Unicode, answered as Hugging Face's `tokenizers` (0.23) answers
/// it, since a model must see the ids it was trained on. Normal forms, categories and small letters
/// come from utf8proc. `tokenizers` classifies characters as Unicode 8 did and composes them as
/// Unicode 9 did: what was added later is, for these functions, a character without properties.

/// The code points of UTF-8 text. Throws Error that begins with `where` and tells the byte (from 0)
/// if it is none: a stray or missing continuation, an overlong form, a surrogate, a number above
/// U+10FFFF.
std::u32string decode_utf8(std::string_view text, std::string_view where);

/// The byte at which text stops to be UTF-8, or npos.
std::size_t find_invalid_utf8(std::string_view text);

std::string encode_utf8(std::u32string_view text);

/// The White_Space property: spaces of every kind, tabs, line and paragraph ends.
bool is_whitespace(char32_t c);
/// Cc, Cf and Co (control, format and private use) but not tab, line feed and carriage return.
bool is_control(char32_t c);
/// Any category P, and every printable ASCII character that is neither a letter, a digit nor space.
bool is_punctuation(char32_t c);
/// Mn: accents and other marks without a width of their own.
bool is_nonspacing_mark(char32_t c);
/// A character of a word as regular expressions understand it (\w): letters, marks, digits, "_" and
/// other connectors, joiners. Of a newer Unicode than the rest: that of the crate `regex`.
bool is_word(char32_t c);
/// The blocks of CJK ideographs that BERT treats as words: neither kana nor hangul. Those of
/// U+2B820 to U+2B91F are not among them in `tokenizers`, and so not here.
bool is_cjk(char32_t c);

/// Canonical decomposition (NFD): "é" becomes "e" and an acute accent, marks come in their order.
std::u32string nfd(std::u32string_view text);

/// Small letters, character by character; "İ" becomes "i" and a dot above.
std::u32string lowercase(std::u32string_view text);

}  // namespace slimgrad
