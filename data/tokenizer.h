#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/added_tokens.h"
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
    /// Throws Error that begins with `where` unless there are [PAD], [UNK], [CLS] and [SEP] among
    /// the vocabulary and the `added` tokens, and every added token has an id that fits: that of
    /// the vocabulary if it is there, else one that is free, so that all ids together have no gap.
    /// [PAD] … [SEP] and [MASK] are added tokens too, as they stand, unless `added` says otherwise.
    Tokenizer(Vocabulary vocabulary, const NormalizerOptions& normalizer,
              const WordPieceOptions& pieces, std::string_view where,
              std::vector<AddedToken> added = {});

    /// Reads `vocab.txt`, `tokenizer.json` (a WordPiece model with BERT's normaliser), or a
    /// directory with one of them and what else transformers keeps beside it, as its AutoTokenizer
    /// does (see TokenizerFiles). Throws Error that names the file and what was expected.
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

    /// What words are cut into; added tokens need not be in it.
    const Vocabulary& vocabulary() const { return vocabulary_; }
    const NormalizerOptions& normalizer() const { return normalizer_; }
    const WordPieceOptions& pieces() const { return pieces_; }
    /// With their ids, in the order of these.
    const std::vector<AddedToken>& added() const { return added_; }
    /// Every id that a text may have is below.
    std::int64_t size() const { return size_; }
    std::int32_t pad() const { return pad_; }
    std::int32_t unknown() const { return pieces_.unknown; }
    std::int32_t cls() const { return cls_; }
    std::int32_t sep() const { return sep_; }

    /// What a user should know of the files: where they disagree, or hold what no text can have.
    const std::vector<std::string>& notes() const { return notes_; }
    void add_note(std::string note) { notes_.push_back(std::move(note)); }

  private:
    void place_added(std::string_view where);
    void make_finders(std::string_view where);
    std::optional<std::int32_t> find(std::string_view token) const;
    std::int32_t need(std::string_view token, std::string_view where) const;

    Vocabulary vocabulary_;
    NormalizerOptions normalizer_;
    WordPieceOptions pieces_;
    std::vector<AddedToken> added_;
    TokenFinder as_they_stand_, normalized_;
    std::int64_t size_ = 0;
    std::int32_t pad_ = 0, cls_ = 0, sep_ = 0;
    std::vector<std::string> notes_;
};

}  // namespace slimgrad
