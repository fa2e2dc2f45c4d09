#include <map>
#include <nlohmann/json.hpp>
#include <system_error>

#include "data/file.h"
#include "data/tokenizer_files.h"
#include "data/tokenizer_parts.h"

namespace slimgrad {
namespace {

using nlohmann::ordered_json;

ordered_json to_json(const AddedToken& token) {
    return {{"content", token.content},       {"single_word", token.single_word},
            {"lstrip", token.lstrip},         {"rstrip", token.rstrip},
            {"normalized", token.normalized}, {"special", token.special}};
}

ordered_json to_json(const std::optional<bool>& flag) {
    return flag ? ordered_json(*flag) : ordered_json();
}

/// How texts are framed: a list of special tokens and sequences with their types.
ordered_json frame(std::initializer_list<std::pair<const char*, int>> pieces) {
    ordered_json list = ordered_json::array();
    for (const auto& [id, type] : pieces) {
        ordered_json piece;
        piece[*id == '[' ? "SpecialToken" : "Sequence"] = {{"id", id}, {"type_id", type}};
        list.push_back(std::move(piece));
    }
    return list;
}

ordered_json special(const char* name, std::int32_t id) {
    return {
        {"id", name}, {"ids", ordered_json::array({id})}, {"tokens", ordered_json::array({name})}};
}

ordered_json tokenizer_json(const Tokenizer& tokenizer) {
    ordered_json added = ordered_json::array();
    for (const AddedToken& token : tokenizer.added()) {
        ordered_json entry{{"id", token.id}};
        entry.update(to_json(token));
        added.push_back(std::move(entry));
    }
    std::map<std::string, std::int32_t> tokens;
    const Vocabulary& vocabulary = tokenizer.vocabulary();
    for (std::int32_t id = 0; id < vocabulary.size(); ++id)
        if (const std::string& token = vocabulary.token(id); !token.empty())
            tokens[token] = id;  // of several places the last
    const NormalizerOptions& normal = tokenizer.normalizer();
    const WordPieceOptions& pieces = tokenizer.pieces();
    return {{"version", "1.0"},
            {"truncation", nullptr},
            {"padding", nullptr},
            {"added_tokens", added},
            {"normalizer",
             {{"type", "BertNormalizer"},
              {"clean_text", normal.clean_text},
              {"handle_chinese_chars", normal.handle_chinese_chars},
              {"strip_accents", to_json(normal.strip_accents)},
              {"lowercase", normal.lowercase}}},
            {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
            {"post_processor",
             {{"type", "TemplateProcessing"},
              {"single", frame({{"[CLS]", 0}, {"A", 0}, {"[SEP]", 0}})},
              {"pair", frame({{"[CLS]", 0}, {"A", 0}, {"[SEP]", 0}, {"B", 1}, {"[SEP]", 1}})},
              {"special_tokens",
               {{"[CLS]", special("[CLS]", tokenizer.cls())},
                {"[SEP]", special("[SEP]", tokenizer.sep())}}}}},
            {"decoder", {{"type", "WordPiece"}, {"prefix", pieces.prefix}, {"cleanup", true}}},
            {"model",
             {{"type", "WordPiece"},
              {"unk_token", "[UNK]"},
              {"continuing_subword_prefix", pieces.prefix},
              {"max_input_chars_per_word", pieces.max_chars_per_word},
              {"vocab", nlohmann::json(tokens)}}}};
}

/// Whether vocab.txt and the keys of BERT's own class in tokenizer_config.json say everything.
bool is_usual(const Tokenizer& tokenizer) {
    const WordPieceOptions &pieces = tokenizer.pieces(), usual;
    return tokenizer.normalizer().clean_text && pieces.prefix == usual.prefix &&
           pieces.max_chars_per_word == usual.max_chars_per_word;
}

ordered_json config_json(const Tokenizer& tokenizer, std::string_view kind,
                         std::int64_t max_length) {
    const NormalizerOptions& normal = tokenizer.normalizer();
    nlohmann::json added = nlohmann::json::object();  // an ordered one searches all for each
    for (const AddedToken& token : tokenizer.added())
        added[std::to_string(token.id)] = nlohmann::json(to_json(token));
    // PreTrainedTokenizerFast takes tokenizer.json as it is.
    return {{"tokenizer_class", !is_usual(tokenizer)   ? "PreTrainedTokenizerFast"
                                : kind == "distilbert" ? "DistilBertTokenizer"
                                                       : "BertTokenizer"},
            {"do_lower_case", normal.lowercase},
            {"strip_accents", to_json(normal.strip_accents)},
            {"tokenize_chinese_chars", normal.handle_chinese_chars},
            {"model_max_length", max_length},
            {"pad_token", "[PAD]"},
            {"unk_token", "[UNK]"},
            {"cls_token", "[CLS]"},
            {"sep_token", "[SEP]"},
            {"mask_token", "[MASK]"},
            {"added_tokens_decoder", added}};
}

/// Whether a line of a file can hold the token.
bool fits_line(const std::string& token) {
    return token.find('\n') == std::string::npos && Vocabulary::trimmed(token) == token;
}

/// One token a line, if lines can hold them all.
std::optional<std::string> lines_of(const Vocabulary& vocabulary) {
    std::string lines;
    for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
        if (!fits_line(vocabulary.token(id))) return std::nullopt;
        lines += vocabulary.token(id) + "\n";
    }
    return lines;
}

}  // namespace

TokenizerFiles format_tokenizer(const Tokenizer& tokenizer, std::string_view kind,
                                std::int64_t max_length) {
    TokenizerFiles files;
    files.vocabulary = lines_of(tokenizer.vocabulary());
    if (!files.vocabulary || !is_usual(tokenizer))
        files.tokenizer = tokenizer_json(tokenizer).dump() + "\n";
    files.config = config_json(tokenizer, kind, max_length).dump(2) + "\n";
    return files;
}

void save_tokenizer(const std::filesystem::path& directory, const Tokenizer& tokenizer,
                    std::string_view kind, std::int64_t max_length) {
    const TokenizerFiles files = format_tokenizer(tokenizer, kind, max_length);
    for (const auto& [name, text] : {std::pair("tokenizer.json", &files.tokenizer),
                                     {"vocab.txt", &files.vocabulary},
                                     {"tokenizer_config.json", &files.config},
                                     {"added_tokens.json", &files.added_tokens},
                                     {"special_tokens_map.json", &files.special_tokens_map}}) {
        std::error_code none;
        if (!*text) {
            std::filesystem::remove(directory / name, none);  // of another tokenizer
            continue;
        }
        AtomicFile file(directory / name);
        file.write(**text);
        file.commit();
    }
}

}  // namespace slimgrad
