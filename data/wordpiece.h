#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/vocabulary.h"

namespace slimgrad {

/// How text is made uniform before it is cut into words (BERT's BasicTokenizer).
struct NormalizerOptions {
    bool clean_text = true;            // drop control characters, make every white space a space
    bool handle_chinese_chars = true;  // each ideograph is a word
    bool lowercase = true;
    std::optional<bool> strip_accents;  // unless said otherwise: as lowercase
};

/// The text with these options applied, in BERT's order: cleaning, spaces around ideographs, NFD
/// without nonspacing marks, small letters.
std::u32string normalize(std::u32string_view text, const NormalizerOptions& options);

/// Words and punctuation: white space separates and is dropped, each punctuation character is a
/// word of its own. Views into `text`.
std::vector<std::u32string_view> split_words(std::u32string_view text);

struct WordPieceOptions {
    std::string prefix = "##";              // of the pieces that go on a word
    std::int64_t max_chars_per_word = 100;  // a longer word is unknown
    std::int32_t unknown = 0;               // the id of [UNK]
};

/// Appends the ids of the pieces of a word: from its beginning, always the longest one that the
/// vocabulary has. A word that cannot be cut so to its end is one unknown token (Wu et al. 2016;
/// Devlin et al. 2019).
void append_pieces(std::u32string_view word, const Vocabulary& vocabulary,
                   const WordPieceOptions& options, std::vector<std::int32_t>& ids);

}  // namespace slimgrad
