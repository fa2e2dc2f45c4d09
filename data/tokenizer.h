#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/vocabulary.h"
#include "data/wordpiece.h"

namespace slimgrad {

/// A sentence or a pair of them as a model reads it: [CLS] first [SEP], or
/// [CLS] first [SEP] second [SEP].
struct Encoding {
    std::vector<std::int32_t> ids;
    std::vector<std::int32_t> types;  // 0 up to the first [SEP], 1 behind it (token_type_ids)

    std::int64_t size() const { return std::ssize(ids); }
};

/// How many tokens of two sentences remain when together they may have `room`: the longer one gives
/// until both are equal, then both; if one may have a token more, it is the longer, and of two
/// equal ones the second. As in `tokenizers` ("longest_first").
struct Kept {
    std::int64_t first, second;
};
Kept keep_longest_first(std::int64_t first, std::int64_t second, std::int64_t room);

/// BERT's tokenizer: normalisation, words and punctuation, WordPiece. Its ids are those of Hugging
/// Face's `tokenizers`. Safe to use from several threads.
class Tokenizer {
  public:
    /// Throws Error that begins with `where` unless the vocabulary has [PAD], [UNK], [CLS] and
    /// [SEP]. These, [MASK] and `added` are single tokens wherever a text has them, as they stand.
    Tokenizer(Vocabulary vocabulary, const NormalizerOptions& normalizer,
              const WordPieceOptions& pieces, std::string_view where,
              std::vector<std::string> added = {});

    /// Reads `vocab.txt`, `tokenizer.json` (a WordPiece model with BERT's normaliser), or a
    /// directory with one of them; there `tokenizer.json` comes first, and `tokenizer_config.json`
    /// tells whether a vocab.txt is of small letters. Throws Error that names the file and what was
    /// expected.
    static Tokenizer open(const std::filesystem::path& path);
    /// Reads a vocabulary of one token a line.
    static Tokenizer open_vocabulary(const std::filesystem::path& file,
                                     const NormalizerOptions& normalizer = {});
    /// Reads the JSON text of a `tokenizer.json`; Errors begin with `where`.
    static Tokenizer parse_json(std::string_view json, std::string_view where);

    /// The ids of a text without [CLS] and [SEP]. Throws Error with the byte if it is not UTF-8.
    std::vector<std::int32_t> tokenize(std::string_view text) const;
    /// At most `max_length` tokens (0: as many as there are), the ends of the texts are cut.
    /// Throws Error if that leaves no room for [CLS] and [SEP].
    Encoding encode(std::string_view text, std::int64_t max_length = 0) const;
    Encoding encode(std::string_view first, std::string_view second,
                    std::int64_t max_length = 0) const;

    const Vocabulary& vocabulary() const { return vocabulary_; }
    const NormalizerOptions& normalizer() const { return normalizer_; }
    std::int32_t pad() const { return pad_; }
    std::int32_t unknown() const { return pieces_.unknown; }
    std::int32_t cls() const { return cls_; }
    std::int32_t sep() const { return sep_; }

  private:
    std::int32_t need(std::string_view token, std::string_view where) const;
    void append_text(std::string_view text, std::vector<std::int32_t>& ids) const;

    Vocabulary vocabulary_;
    NormalizerOptions normalizer_;
    WordPieceOptions pieces_;
    std::vector<std::string> whole_;  // tokens that are found in a text before it is normalised
    std::int32_t pad_, cls_, sep_;
};

}  // namespace slimgrad
