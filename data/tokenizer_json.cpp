#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/json.h"
#include "data/safetensors_header.h"
#include "data/tokenizer.h"
#include "data/tokenizer_parts.h"
#include "tensor/error.h"

namespace slimgrad {
namespace {

using nlohmann::json;

constexpr std::int64_t most_ids = 1 << 22;

void expect(const JsonObject& section, const char* key, const std::string& expected,
            const char* name) {
    const std::string got = section.text(key, "");
    require(got == expected,
            "{}: expected the {} {} as \"{}\", got {}. Hint: slimgrad reads BERT's tokenizers",
            section.where(), key, in_quotes(expected), name, in_quotes(got));
}

/// The tokens in their places. Ids may be left out, but not so many that the file says nothing of
/// most.
std::vector<std::string> read_tokens(const JsonObject& model) {
    const std::string& where = model.where();
    const json* const vocabulary = model.find("vocab");
    require(vocabulary && vocabulary->is_object() && !vocabulary->empty(),
            "{}: expected tokens with their ids as \"vocab\" of \"model\"", where);
    const std::int64_t most =
        std::min<std::int64_t>(most_ids, 2 * std::ssize(*vocabulary) + 1000) - 1;
    std::vector<std::string> tokens(vocabulary->size());
    for (const auto& [token, value] : vocabulary->items()) {
        const std::optional<std::int64_t> id = natural(value, most);
        require(id.has_value(), "{}: expected an id from 0 to {} for the token {}, got {}", where,
                most, in_quotes(token), shown_json(value));
        const auto index = static_cast<std::size_t>(*id);
        if (index >= tokens.size()) tokens.resize(index + 1);
        require(tokens[index].empty() || token.empty(),
                "{}: expected each id once, {} and {} have id {}", where, in_quotes(tokens[index]),
                in_quotes(token), index);
        if (!token.empty()) tokens[index] = token;
    }
    return tokens;
}

/// The tokens that are to be found in a text as a whole; they may extend the vocabulary.
std::vector<AddedToken> read_added(const json& document, std::string_view where) {
    std::vector<AddedToken> added;
    const auto list = document.find("added_tokens");
    if (list == document.end() || list->is_null()) return added;
    require(list->is_array(), "{}: expected a list as \"added_tokens\", got {}", where,
            shown_json(*list));
    for (const json& entry : *list) {
        AddedToken token = read_added_token(entry, where);
        const auto number = entry.find("id");
        const std::optional<std::int64_t> id =
            number == entry.end() ? std::nullopt : natural(*number, most_ids);
        require(id.has_value(), "{}: expected an id from 0 to {} for the added token {}, got {}",
                where, most_ids, in_quotes(token.content),
                number == entry.end() ? "none" : shown_json(*number));
        token.id = static_cast<std::int32_t>(*id);
        added.push_back(std::move(token));
    }
    return added;
}

/// The pieces of a template: special tokens by their names, sequences as $A and $B, with types.
std::string describe_template(const json* pieces) {
    std::string text;
    if (!pieces || !pieces->is_array()) return text;
    for (const json& piece : *pieces)
        for (const char* const kind : {"SpecialToken", "Sequence"}) {
            if (!piece.is_object() || !piece.contains(kind) || !piece[kind].is_object()) continue;
            const json& content = piece[kind];
            text += fmt::format("{}{}:{}", text.empty() ? "" : " ",
                                shown_json(content.value("id", json())),
                                shown_json(content.value("type_id", json())));
        }
    return text;
}

/// The post-processor must frame texts as BERT does: that is what Tokenizer::encode will do.
void check_frame(const JsonObject& document) {
    if (!document.find("post_processor")) return;
    const JsonObject section = document.object("post_processor");
    if (section.text("type", "") == "BertProcessing") return;
    expect(section, "type", "TemplateProcessing", "post_processor");
    require(describe_template(section.find("single")) == R"("[CLS]":0 "A":0 "[SEP]":0)" &&
                describe_template(section.find("pair")) ==
                    R"("[CLS]":0 "A":0 "[SEP]":0 "B":1 "[SEP]":1)",
            "{}: expected a \"post_processor\" that makes [CLS] A [SEP] and [CLS] A [SEP] B [SEP]",
            section.where());
}

}  // namespace

AddedToken read_added_token(const json& value, std::string_view where) {
    const JsonObject object(value, std::string(where));
    AddedToken token{.content = object.text("content", "")};
    require(!token.content.empty(), "{}: expected an added token with a \"content\", got {}", where,
            shown_json(value));
    token.single_word = object.flag("single_word", false);
    token.lstrip = object.flag("lstrip", false);
    token.rstrip = object.flag("rstrip", false);
    token.special = object.flag("special", false);
    token.normalized = object.flag("normalized", !token.special);
    return token;
}

TokenizerParts parse_tokenizer_json(std::string_view text, std::string_view where) {
    const json content = parse_json(text, where);
    const JsonObject document(content, std::string(where));
    const JsonObject model = document.object("model");
    // Files from before 2021 do not say the type; with merges the model would be another.
    if (model.find("type") || model.find("merges")) expect(model, "type", "WordPiece", "model");
    expect(model, "unk_token", "[UNK]", "model");
    TokenizerParts parts;
    parts.pieces.prefix = model.text("continuing_subword_prefix", parts.pieces.prefix);
    if (const json* const value = model.find("max_input_chars_per_word")) {
        const std::optional<std::int64_t> most = natural(*value, 1'000'000);
        require(most.has_value(),
                "{}: expected \"max_input_chars_per_word\" from 0 to 1000000, got {}", where,
                shown_json(*value));
        parts.pieces.max_chars_per_word = *most;
    }
    const JsonObject normalizer = document.object("normalizer");
    expect(normalizer, "type", "BertNormalizer", "normalizer");
    NormalizerOptions& options = parts.normalizer;
    options.clean_text = normalizer.flag("clean_text", options.clean_text);
    options.handle_chinese_chars =
        normalizer.flag("handle_chinese_chars", options.handle_chinese_chars);
    options.lowercase = normalizer.flag("lowercase", options.lowercase);
    if (normalizer.find("strip_accents"))
        options.strip_accents = normalizer.flag("strip_accents", false);
    expect(document.object("pre_tokenizer"), "type", "BertPreTokenizer", "pre_tokenizer");
    check_frame(document);
    parts.tokens = read_tokens(model);
    parts.added = read_added(content, where);
    return parts;
}

Tokenizer Tokenizer::parse_json(std::string_view text, std::string_view where) {
    TokenizerParts parts = parse_tokenizer_json(text, where);
    return Tokenizer(Vocabulary(std::move(parts.tokens), where), parts.normalizer, parts.pieces,
                     where, std::move(parts.added));
}

}  // namespace slimgrad
