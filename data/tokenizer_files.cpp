#include "data/tokenizer_files.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <unordered_map>

#include "data/file.h"
#include "data/json.h"
#include "data/safetensors_header.h"
#include "data/tokenizer_parts.h"
#include "tensor/error.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string where_of(const fs::path& directory, const char* file) {
    return fmt::format("[tokenizer] '{}'", (directory / file).string());
}

/// One of the files: an object, empty if the file is not there.
json parse_file(const std::optional<std::string>& text, const std::string& where) {
    json content = text ? parse_json(*text, where) : json::object();
    [[maybe_unused]] const JsonObject object(content, where);  // throws if it is none
    return content;
}

/// Classes that take the vocabulary of a tokenizer.json and nothing else of it but added tokens.
bool rebuilds(std::string name) {
    if (name.ends_with("Fast")) name.resize(name.size() - 4);
    const std::set<std::string> known = {"",
                                         "BertTokenizer",
                                         "DistilBertTokenizer",
                                         "ElectraTokenizer",
                                         "MobileBertTokenizer",
                                         "ConvBertTokenizer"};
    return known.contains(name);
}

const char* word(bool flag) { return flag ? "true" : "false"; }
const char* word(const std::optional<bool>& flag) { return flag ? word(*flag) : "null"; }

/// What the class of the tokenizer makes of the text before it is cut into words.
NormalizerOptions merge_options(const NormalizerOptions& stored, const JsonObject& config,
                                bool noted, std::vector<std::string>& notes) {
    NormalizerOptions options = stored;
    options.lowercase = config.flag("do_lower_case", true);
    options.handle_chinese_chars = config.flag("tokenize_chinese_chars", true);
    options.strip_accents.reset();
    if (config.find("strip_accents")) options.strip_accents = config.flag("strip_accents", false);
    const auto note = [&](const char* key, const char* chosen, const char* other, const char* its) {
        if (!noted || std::string_view(chosen) == other) return;
        notes.push_back(
            fmt::format("{}: {} is {} as in transformers, although tokenizer.json says {} {}",
                        config.where(), key, chosen, its, other));
    };
    note("do_lower_case", word(options.lowercase), word(stored.lowercase), "lowercase");
    note("strip_accents", word(options.strip_accents), word(stored.strip_accents), "strip_accents");
    note("tokenize_chinese_chars", word(options.handle_chinese_chars),
         word(stored.handle_chinese_chars), "handle_chinese_chars");
    return options;
}

/// Tokens, each once, by their content.
class AddedList {
  public:
    explicit AddedList(std::vector<AddedToken> tokens) {
        for (AddedToken& token : tokens) replace(std::move(token));
    }
    void replace(AddedToken token) {
        const auto [known, is_new] = places_.emplace(token.content, tokens_.size());
        if (is_new)
            tokens_.push_back(std::move(token));
        else
            tokens_[known->second] = std::move(token);
    }
    /// Unless there is one of that content.
    void add(AddedToken token) {
        if (!places_.contains(token.content)) replace(std::move(token));
    }
    const std::vector<AddedToken>& tokens() const { return tokens_; }

  private:
    std::vector<AddedToken> tokens_;
    std::unordered_map<std::string, std::size_t> places_;
};

/// A special token that a file names: by its content, or by an object with flags.
AddedToken read_special(const json& value, const std::string& where, const char* key) {
    AddedToken token;
    if (value.is_string()) {
        token.content = value.get<std::string>();
        require(!token.content.empty(), "{}: expected a token as \"{}\", got \"\"", where, key);
    } else {
        token = read_added_token(value, where);
    }
    token.special = true;
    return token;
}

/// The special tokens that a file names beside BERT's five.
void read_more_special(const JsonObject& file, std::vector<AddedToken>& more) {
    for (const char* const key : {"additional_special_tokens", "extra_special_tokens"}) {
        const json* const list = file.find(key);
        if (!list) continue;
        require(list->is_array() || list->is_object(),
                "{}: expected a list of tokens as \"{}\", got {}", file.where(), key,
                shown_json(*list));
        for (const json& value : *list) more.push_back(read_special(value, file.where(), key));
    }
}

/// The names that transformers gives BERT's five must be those that we use.
void check_names(const JsonObject& file, AddedList& added, const Vocabulary& vocabulary) {
    const std::pair<const char*, const char*> names[] = {{"pad_token", "[PAD]"},
                                                         {"unk_token", "[UNK]"},
                                                         {"cls_token", "[CLS]"},
                                                         {"sep_token", "[SEP]"}};
    for (const auto& [key, name] : names) {
        const json* const value = file.find(key);
        if (!value) continue;
        AddedToken token = read_special(*value, file.where(), key);
        require(token.content == name,
                "{}: expected {} as \"{}\", got {}. Hint: slimgrad reads "
                "BERT's tokenizers",
                file.where(), name, key, in_quotes(token.content));
        added.add(std::move(token));
    }
    if (const json* const value = file.find("mask_token")) {
        AddedToken token = read_special(*value, file.where(), "mask_token");
        if (vocabulary.find(token.content)) added.add(std::move(token));
    }
}

/// The tokens of tokenizer_config.json's added_tokens_decoder: by their ids in quotes.
void read_decoder(const JsonObject& config, AddedList& added) {
    const json* const tokens = config.find("added_tokens_decoder");
    require(tokens->is_object(), "{}: expected an object as \"added_tokens_decoder\", got {}",
            config.where(), shown_json(*tokens));
    for (const auto& [key, value] : tokens->items()) {
        AddedToken token = read_added_token(value, config.where());
        const json number = json::parse(key, nullptr, false);  // a number, or no JSON at all
        const auto id = natural(number, std::numeric_limits<std::int32_t>::max());
        require(id.has_value(), "{}: expected an id in quotes for the added token {}, got {}",
                config.where(), in_quotes(token.content), in_quotes(key));
        token.id = static_cast<std::int32_t>(*id);
        added.replace(std::move(token));
    }
}

/// The tokens of added_tokens.json, with their ids. Those that are not special are searched for in
/// normalised text.
void read_added_file(const JsonObject& file, const json& tokens,
                     const std::vector<AddedToken>& special, AddedList& added) {
    std::set<std::string> names = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    for (const AddedToken& token : special) names.insert(token.content);
    for (const auto& [content, value] : tokens.items()) {
        const auto id = natural(value, std::numeric_limits<std::int32_t>::max());
        require(!content.empty() && id.has_value(),
                "{}: expected an id from 0 for the added token {}, got {}", file.where(),
                in_quotes(content), shown_json(value));
        AddedToken token{.content = content, .id = static_cast<std::int32_t>(*id)};
        token.special = names.contains(content);
        token.normalized = !token.special;
        added.add(std::move(token));
    }
}

}  // namespace

TokenizerFiles read_tokenizer_files(const fs::path& directory) {
    const auto read = [&](const char* name) -> std::optional<std::string> {
        if (!is_there(directory / name)) return std::nullopt;
        return read_text(directory / name);
    };
    return {read("tokenizer.json"),          read("vocab.txt"),
            read("tokenizer_config.json"),   read("added_tokens.json"),
            read("special_tokens_map.json"), read("config.json")};
}

Tokenizer make_tokenizer(const TokenizerFiles& files, const fs::path& directory) {
    require(files.tokenizer || files.vocabulary,
            "[tokenizer] expected 'tokenizer.json' or 'vocab.txt' in '{}', found neither",
            directory.string());
    const std::string config_file = where_of(directory, "tokenizer_config.json");
    const std::string map_file = where_of(directory, "special_tokens_map.json");
    const std::string added_file = where_of(directory, "added_tokens.json");
    const json config_text = parse_file(files.config, config_file);
    const json map_text = parse_file(files.special_tokens_map, map_file);
    const json added_text = parse_file(files.added_tokens, added_file);
    const JsonObject config(config_text, config_file), map(map_text, map_file);
    require(!config.flag("split_special_tokens", false),
            "{}: expected \"split_special_tokens\" false, got true. Hint: slimgrad always finds "
            "special tokens in a text",
            config_file);

    const std::string where = where_of(directory, files.tokenizer ? "tokenizer.json" : "vocab.txt");
    TokenizerParts parts;
    if (files.tokenizer) parts = parse_tokenizer_json(*files.tokenizer, where);
    Vocabulary vocabulary = files.tokenizer ? Vocabulary(std::move(parts.tokens), where)
                                            : Vocabulary::parse(*files.vocabulary, where);

    std::vector<std::string> notes;
    std::string name = config.text("tokenizer_class", "");
    if (name.empty() && files.model_config) {
        const std::string model_file = where_of(directory, "config.json");
        const json model = parse_file(files.model_config, model_file);
        name = JsonObject(model, model_file).text("tokenizer_class", "");
    }
    if (!files.tokenizer || rebuilds(name))
        parts.normalizer =
            merge_options(parts.normalizer, config, files.tokenizer.has_value(), notes);

    AddedList added(std::move(parts.added));
    std::vector<AddedToken> special;
    read_more_special(config, special);
    if (config.find("added_tokens_decoder")) {
        read_decoder(config, added);
    } else {
        read_more_special(map, special);
        read_added_file(JsonObject(added_text, added_file), added_text, special, added);
    }
    check_names(config, added, vocabulary);
    if (!config.find("added_tokens_decoder")) check_names(map, added, vocabulary);
    for (AddedToken& token : special) added.add(std::move(token));

    Tokenizer tokenizer(std::move(vocabulary), parts.normalizer, parts.pieces, where,
                        added.tokens());
    for (std::string& note : notes) tokenizer.add_note(std::move(note));
    return tokenizer;
}

Tokenizer Tokenizer::open(const fs::path& path) {
    std::error_code none;
    if (fs::is_directory(path, none)) return make_tokenizer(read_tokenizer_files(path), path);
    if (path.extension() != ".json") return open_vocabulary(path);
    return parse_json(read_text(path), fmt::format("[tokenizer] '{}'", path.string()));
}

}  // namespace slimgrad
