#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "data/added_tokens.h"
#include "data/wordpiece.h"

namespace slimgrad {

/// What a `tokenizer.json` says, before it is made a Tokenizer.
struct TokenizerParts {
    std::vector<std::string> tokens;  // by id; empty where there is none
    NormalizerOptions normalizer;
    WordPieceOptions pieces;
    std::vector<AddedToken> added;
};

/// Reads a WordPiece model with BERT's normaliser, with words and punctuation, and with [CLS] and
/// [SEP] around texts. Of files from before models had a type, those that can be nothing else.
/// `truncation` and `padding` are not read. Throws Error that begins with `where`.
TokenizerParts parse_tokenizer_json(std::string_view text, std::string_view where);

/// An added token as JSON has it: an object with its content and flags. Throws Error that begins
/// with `where`.
AddedToken read_added_token(const nlohmann::json& value, std::string_view where);

}  // namespace slimgrad
