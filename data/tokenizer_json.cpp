#include <nlohmann/json.hpp>
#include <system_error>

#include "data/file.h"
#include "data/safetensors_header.h"
#include "data/tokenizer.h"
#include "tensor/error.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string text_of(const fs::path& file) {
    const std::vector<std::uint8_t> bytes = read_file(file);
    return {bytes.begin(), bytes.end()};
}

/// Reads values of one JSON object and says where and what it misses.
class Section {
  public:
    Section(const json& parent, const char* name, std::string_view where)
        : name_(name), where_(where) {
        const auto found = parent.find(name);
        require(found != parent.end() && found->is_object(), "{}: expected an object \"{}\"", where,
                name);
        object_ = &*found;
    }

    const json* find(const char* key) const {
        const auto found = object_->find(key);
        return found == object_->end() || found->is_null() ? nullptr : &*found;
    }
    std::string text(const char* key, const std::string& otherwise) const {
        const json* const value = find(key);
        if (!value) return otherwise;
        require(value->is_string(), "{}: expected a text as \"{}\" of \"{}\", got {}", where_, key,
                name_, value->type_name());
        return value->get<std::string>();
    }
    bool flag(const char* key, bool otherwise) const {
        const json* const value = find(key);
        if (!value) return otherwise;
        require(value->is_boolean(), "{}: expected true or false as \"{}\" of \"{}\", got {}",
                where_, key, name_, value->type_name());
        return value->get<bool>();
    }
    void expect_type(const std::string& type) const { expect("type", type); }
    void expect(const char* key, const std::string& expected) const {
        const std::string got = text(key, "");
        require(got == expected,
                "{}: expected the {} {} as \"{}\", got {}. Hint: slimgrad reads "
                "BERT's tokenizers",
                where_, key, in_quotes(expected), name_, in_quotes(got));
    }

  private:
    const json* object_ = nullptr;
    const char* name_;
    std::string_view where_;
};

json parse(std::string_view text, std::string_view where) {
    try {
        json document = json::parse(text);
        require(document.is_object(), "{}: expected a JSON object, got {}", where,
                document.type_name());
        return document;
    } catch (const json::parse_error& error) {
        fail("{}: expected JSON, it cannot be read at byte {}", where, error.byte);
    } catch (const json::exception&) {
        fail("{}: expected JSON with numbers in range", where);
    }
}

/// Puts a token into its place.
void place(std::vector<std::string>& tokens, const std::string& token, const json& id,
           std::string_view where) {
    constexpr std::uint64_t most = 10'000'000;
    require(!token.empty() && id.is_number_unsigned() && id.get<std::uint64_t>() < most,
            "{}: expected an id from 0 for the token {}, got {}", where, in_quotes(token),
            in_quotes(id.dump(-1, ' ', false, json::error_handler_t::replace)));
    const std::size_t index = id.get<std::size_t>();
    if (index >= tokens.size()) tokens.resize(index + 1);
    require(tokens[index].empty() || tokens[index] == token,
            "{}: expected each id once, {} and {} have id {}", where, in_quotes(tokens[index]),
            in_quotes(token), index);
    tokens[index] = token;
}

std::vector<std::string> read_tokens(const Section& model, std::string_view where) {
    const json* const vocabulary = model.find("vocab");
    require(vocabulary && vocabulary->is_object() && !vocabulary->empty(),
            "{}: expected tokens with their ids as \"vocab\" of \"model\"", where);
    std::vector<std::string> tokens;
    tokens.reserve(vocabulary->size());
    for (const auto& [token, id] : vocabulary->items()) place(tokens, token, id, where);
    return tokens;
}

/// The tokens that are to be found in a text as they stand; they may extend the vocabulary.
std::vector<std::string> read_added(const json& document, std::vector<std::string>& tokens,
                                    std::string_view where) {
    std::vector<std::string> added;
    const auto list = document.find("added_tokens");
    if (list == document.end() || list->is_null()) return added;
    require(list->is_array(), "{}: expected a list as \"added_tokens\", got {}", where,
            list->type_name());
    for (const json& entry : *list) {
        require(entry.is_object() && entry.contains("id") && entry.contains("content") &&
                    entry["content"].is_string(),
                "{}: expected an id and a content in each of \"added_tokens\"", where);
        const std::string token = entry["content"].get<std::string>();
        for (const char* const flag : {"lstrip", "rstrip", "single_word", "normalized"})
            require(!entry.contains(flag) || entry[flag] == false,
                    "{}: expected \"{}\" to be false for the added token {}, slimgrad knows no "
                    "other",
                    where, flag, in_quotes(token));
        place(tokens, token, entry["id"], where);
        added.push_back(token);
    }
    return added;
}

/// The pieces of a template: special tokens by their names, sequences as $A and $B, with types.
std::string describe_template(const json& pieces) {
    std::string text;
    if (!pieces.is_array()) return text;
    for (const json& piece : pieces)
        for (const char* const kind : {"SpecialToken", "Sequence"}) {
            if (!piece.is_object() || !piece.contains(kind) || !piece[kind].is_object()) continue;
            const json& content = piece[kind];
            text += fmt::format(
                "{}{}:{}", text.empty() ? "" : " ",
                content.value("id", json()).dump(-1, ' ', true, json::error_handler_t::replace),
                content.value("type_id", json())
                    .dump(-1, ' ', true, json::error_handler_t::replace));
        }
    return text;
}

/// The post-processor must frame texts as BERT does: that is what Tokenizer::encode will do.
void check_frame(const json& document, std::string_view where) {
    const auto post = document.find("post_processor");
    if (post == document.end() || post->is_null()) return;
    const Section section(document, "post_processor", where);
    if (section.text("type", "") == "BertProcessing") return;
    section.expect_type("TemplateProcessing");
    const json* const single = section.find("single");
    const json* const pair = section.find("pair");
    require(single && describe_template(*single) == R"("[CLS]":0 "A":0 "[SEP]":0)" && pair &&
                describe_template(*pair) == R"("[CLS]":0 "A":0 "[SEP]":0 "B":1 "[SEP]":1)",
            "{}: expected a \"post_processor\" that makes [CLS] A [SEP] and [CLS] A [SEP] B [SEP]",
            where);
}

}  // namespace

Tokenizer Tokenizer::parse_json(std::string_view text, std::string_view where) {
    const json document = parse(text, where);
    const Section model(document, "model", where);
    model.expect_type("WordPiece");
    model.expect("unk_token", "[UNK]");
    WordPieceOptions pieces;
    pieces.prefix = model.text("continuing_subword_prefix", pieces.prefix);
    if (const json* const most = model.find("max_input_chars_per_word")) {
        require(most->is_number_unsigned() && most->get<std::uint64_t>() <= 1'000'000,
                "{}: expected \"max_input_chars_per_word\" from 0 to 1000000", where);
        pieces.max_chars_per_word = most->get<std::int64_t>();
    }
    const Section normalizer(document, "normalizer", where);
    normalizer.expect_type("BertNormalizer");
    NormalizerOptions options;
    options.clean_text = normalizer.flag("clean_text", options.clean_text);
    options.handle_chinese_chars =
        normalizer.flag("handle_chinese_chars", options.handle_chinese_chars);
    options.lowercase = normalizer.flag("lowercase", options.lowercase);
    if (normalizer.find("strip_accents"))
        options.strip_accents = normalizer.flag("strip_accents", options.lowercase);
    Section(document, "pre_tokenizer", where).expect_type("BertPreTokenizer");
    check_frame(document, where);

    std::vector<std::string> tokens = read_tokens(model, where);
    std::vector<std::string> added = read_added(document, tokens, where);
    for (std::size_t id = 0; id < tokens.size(); ++id)
        require(!tokens[id].empty(), "{}: expected a token for each id below {}, id {} has none",
                where, tokens.size(), id);
    return Tokenizer(Vocabulary(std::move(tokens), where), options, pieces, where,
                     std::move(added));
}

Tokenizer Tokenizer::open(const fs::path& path) {
    std::error_code none;
    if (!fs::is_directory(path, none)) {
        if (path.extension() != ".json") return open_vocabulary(path);
        return parse_json(text_of(path), fmt::format("[tokenizer] '{}'", path.string()));
    }
    if (fs::exists(path / "tokenizer.json", none)) return open(path / "tokenizer.json");
    require(fs::exists(path / "vocab.txt", none),
            "[tokenizer] expected 'tokenizer.json' or 'vocab.txt' in '{}', found neither",
            path.string());
    NormalizerOptions options;
    if (const fs::path file = path / "tokenizer_config.json"; fs::exists(file, none)) {
        const std::string where = fmt::format("[tokenizer] '{}'", file.string());
        const json wrapped{{"tokenizer", parse(text_of(file), where)}};
        const Section config(wrapped, "tokenizer", where);
        options.lowercase = config.flag("do_lower_case", options.lowercase);
        options.handle_chinese_chars =
            config.flag("tokenize_chinese_chars", options.handle_chinese_chars);
        if (config.find("strip_accents"))
            options.strip_accents = config.flag("strip_accents", options.lowercase);
    }
    return open_vocabulary(path / "vocab.txt", options);
}

}  // namespace slimgrad
