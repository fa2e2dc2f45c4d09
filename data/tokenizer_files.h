#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "data/tokenizer.h"

namespace slimgrad {

/// The texts of the files in which transformers keeps a tokenizer; nothing for a file that is not
/// there. What they make together is what its AutoTokenizer makes of them:
/// - the vocabulary is that of tokenizer.json, or vocab.txt where there is none;
/// - do_lower_case, strip_accents and tokenize_chinese_chars are those of tokenizer_config.json,
/// and
///   if it says nothing true, as lowercase, and true, whatever tokenizer.json says. Only where
///   tokenizer_class is no class of BERT's does tokenizer.json stand as it is;
/// - added tokens are those of tokenizer.json, those of tokenizer_config.json's
///   added_tokens_decoder, which come first where both name a token, or, without that list, those
///   of added_tokens.json, and special tokens that the other files name.
struct TokenizerFiles {
    std::optional<std::string> tokenizer{};           // tokenizer.json
    std::optional<std::string> vocabulary{};          // vocab.txt
    std::optional<std::string> config{};              // tokenizer_config.json
    std::optional<std::string> added_tokens{};        // added_tokens.json
    std::optional<std::string> special_tokens_map{};  // special_tokens_map.json
    std::optional<std::string> model_config{};        // config.json: may name the tokenizer's class
};

/// Reads those files of a directory. Throws Error if one cannot be read.
TokenizerFiles read_tokenizer_files(const std::filesystem::path& directory);

/// The tokenizer that they make; `directory` names them in messages. Throws Error, one line that
/// names the file and what was expected, also where they contradict each other.
Tokenizer make_tokenizer(const TokenizerFiles& files, const std::filesystem::path& directory);

/// The other way: files from which make_tokenizer and transformers make the same tokenizer again,
/// for a model of this kind ("bert", "distilbert") that reads `max_length` tokens: vocab.txt with
/// tokenizer_config.json, and tokenizer.json if these cannot say everything.
TokenizerFiles format_tokenizer(const Tokenizer& tokenizer, std::string_view kind,
                                std::int64_t max_length);
/// Writes them, and removes what such files of another tokenizer would say beside them. Throws
/// Error if the directory cannot be written.
void save_tokenizer(const std::filesystem::path& directory, const Tokenizer& tokenizer,
                    std::string_view kind, std::int64_t max_length);

}  // namespace slimgrad
