// Directories as transformers keeps tokenizers in: what its AutoTokenizer makes of their files.
#include "data/tokenizer_files.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/places.h"
#include "tests/temporary.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Ids = std::vector<std::int32_t>;

TokenizerFiles files_of(const json& entry) {
    const auto text = [&](const char* name) -> std::optional<std::string> {
        const auto found = entry.find(name);
        if (found == entry.end()) return std::nullopt;
        return found->get<std::string>();
    };
    return {text("tokenizer.json"),          text("vocab.txt"),
            text("tokenizer_config.json"),   text("added_tokens.json"),
            text("special_tokens_map.json"), text("config.json")};
}

/// The directories of a file that tests/golden/tokenizer/directories.py wrote, as they are and as
/// they come back when they have been saved. Returns how many there were.
std::int64_t expect_directories(const fs::path& path) {
    std::ifstream file(path);
    std::string line;
    EXPECT_TRUE(std::getline(file, line)) << path;
    const json header = json::parse(line);
    EXPECT_EQ(header["magic"], "slimgrad-directories");
    EXPECT_EQ(header["version"], 1);
    const char* const kept = std::getenv("SLIMGRAD_TOKENIZER_SAVED");
    const TemporaryDirectory temporary;
    std::int64_t count = 0, different = 0;
    for (; std::getline(file, line); ++count) {
        const json entry = json::parse(line);
        const Tokenizer made = make_tokenizer(files_of(entry["files"]), "model");
        const fs::path saved =
            kept ? fs::path(kept) / std::to_string(count) : temporary / std::to_string(count);
        fs::create_directories(saved);
        save_tokenizer(saved, made, "bert", 32);
        const Tokenizer again = Tokenizer::open(saved);
        EXPECT_EQ(again.added(), made.added()) << entry["name"];
        EXPECT_EQ(again.size(), made.size()) << entry["name"];
        EXPECT_EQ(again.normalizer().lowercase, made.normalizer().lowercase);
        EXPECT_EQ(again.normalizer().strip_accents, made.normalizer().strip_accents);
        for (std::size_t i = 0; i < entry["texts"].size(); ++i) {
            const std::string text = entry["texts"][i];
            const Ids expected = entry["ids"][i];
            const Ids first = made.tokenize(text), second = again.tokenize(text);
            if (first == expected && second == expected) continue;
            if (++different <= 10)
                ADD_FAILURE() << "directory " << count << ", " << entry["name"] << ": "
                              << entry["texts"][i].dump(-1, ' ', true) << "\n got "
                              << json(first).dump() << ", saved " << json(second).dump()
                              << "\n not " << entry["ids"][i].dump();
        }
    }
    EXPECT_EQ(different, 0) << "of " << count;
    return count;
}

TEST(TokenizerFiles, IdsAreThoseOfAutoTokenizer) {
    EXPECT_EQ(expect_directories(tests_directory() / "golden/tokenizer/directories.jsonl"), 170);
}

TEST(TokenizerFiles, IdsAreThoseOfAutoTokenizerOnMoreDirectories) {
    const char* const file = std::getenv("SLIMGRAD_TOKENIZER_DIRECTORIES");
    if (!file) GTEST_SKIP() << "SLIMGRAD_TOKENIZER_DIRECTORIES names no file of directories.py";
    fmt::print("{} directories\n", expect_directories(file));
}

const std::string words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\nworld\n";

/// A vocabulary of eight tokens and these files.
Tokenizer with(const std::string& config, const std::string& added = "{}",
               const std::string& vocabulary = words) {
    return make_tokenizer({.vocabulary = vocabulary, .config = config, .added_tokens = added}, "m");
}

std::string decoder(const std::string& id, const std::string& token) {
    return "{\"added_tokens_decoder\": {\"" + id + "\": " + token + "}}";
}

TEST(TokenizerFiles, ContradictionsAreRefused) {
    const auto expect = [](const std::string& config, const std::string& added,
                           std::initializer_list<std::string> parts) {
        expect_error([&] { with(config, added); }, parts);
    };
    const std::string token = R"({"content": "[WORLD]"})";
    EXPECT_EQ(with(decoder("8", token)).tokenize("the [WORLD]"), (Ids{5, 8}));
    expect(decoder("9", token), "{}", {"'m/vocab.txt'", "the id 8", "\"[WORLD]\"", "got 9"});
    expect(decoder("6", token), "{}", {"that is free", "\"[WORLD]\"", "6 is \"cat\""});
    expect(decoder("6", R"({"content": "world"})"), "{}", {"the id 7", "\"world\"", "got 6"});
    expect(decoder("x", token), "{}", {"tokenizer_config.json'", "an id in quotes", "\"x\""});
    expect(decoder("-8", token), "{}", {"an id in quotes", "\"-8\""});
    expect(decoder("99999999999999999999", token), "{}", {"an id in quotes"});
    expect(decoder("8", "7"), "{}", {"expected an object, got number"});
    expect(decoder("8", "{}"), "{}", {"an added token with a \"content\""});
    expect(decoder("8", R"({"content": "x", "lstrip": 1})"), "{}",
           {"true or false as \"lstrip\"", "got 1"});
    expect(R"({"added_tokens_decoder": []})", "{}", {"an object as \"added_tokens_decoder\""});
    expect("{}", R"({"[A]": 8, "[B]": 8})", {"\"[B]\" that is free, 8 is \"[A]\""});
    expect("{}", R"({"[A]": -1})", {"added_tokens.json'", "an id from 0", "\"[A]\", got -1"});
    expect("{}", R"({"[A]": 1e999})",
           {"added_tokens.json'", "a number that is too large: '1e999'"});
    expect("{}", R"({"[A]": 18446744073709551615})", {"an id from 0"});
    expect("{}", "[]", {"added_tokens.json'", "expected an object, got array"});
    expect("[1]", "{}", {"tokenizer_config.json'", "expected an object, got array"});
    expect("{", "{}", {"tokenizer_config.json'", "JSON", "byte 2"});
    expect(R"({"do_lower_case": "no"})", "{}", {"true or false as \"do_lower_case\", got \"no\""});
    expect(R"({"unk_token": "the"})", "{}", {"expected [UNK] as \"unk_token\", got \"the\""});
    expect(R"({"cls_token": 3})", "{}", {"expected an object, got number"});
    expect(R"({"split_special_tokens": true})", "{}", {"split_special_tokens"});
    expect(R"({"additional_special_tokens": "x"})", "{}", {"a list of tokens"});
    expect(R"({"tokenizer_class": {}})", "{}", {"a text as \"tokenizer_class\""});
    // A form that no text has.
    expect("{}", R"({"\u0301": 8})", {"from 1 to 1000 characters", "got 0 when normalized"});
    expect("{}", "{\"" + std::string(2000, 'a') + "\": 8}", {"got 2000 when normalized"});
    expect("{}", std::string(300, '['), {"nested more than 64 levels deep"});
}

TEST(TokenizerFiles, SaysWhereFilesDisagreeAndWhatNoTextHas) {
    EXPECT_TRUE(with("{}").notes().empty());
    const auto notes = [](const std::string& vocabulary) {
        return with("{}", "{}", vocabulary).notes();
    };
    EXPECT_EQ(notes(words + "\na\n \nthe\n\n"),
              (std::vector<std::string>{
                  "[tokenizer] 'm/vocab.txt': places without a token are ids that no text has (ids "
                  "8, 10, 12)",
                  "[tokenizer] 'm/vocab.txt': of tokens that come again the last place counts, not "
                  "these (ids 5 \"the\")"}));
    EXPECT_EQ(notes(words + "\n\n\n\n\n\n\n")[0].substr(75), "(ids 8, 9, 10, 11, 12, …)");
    // An empty place is free for a token that is added.
    EXPECT_EQ(with("{}", R"({"[A]": 8})", words + "\ndog\n").tokenize("[a] dog"), (Ids{8, 9}));
    EXPECT_EQ(with("{}", "{}", words + "\n\n").size(), 8);
    EXPECT_EQ(with("{}", R"({"[A]": 10})", words + "\n\n").size(), 11);

    const fs::path golden = tests_directory() / "golden/tokenizer";
    const Tokenizer tokenizer = make_tokenizer({.tokenizer = get(golden / "tokenizer.json")}, "m");
    ASSERT_EQ(tokenizer.notes().size(), 1u);
    EXPECT_EQ(tokenizer.notes()[0],
              "[tokenizer] 'm/tokenizer_config.json': do_lower_case is true as in transformers, "
              "although tokenizer.json says lowercase false");
}

/// What no line of a vocab.txt holds is kept by tokenizer.json alone.
TEST(TokenizerFiles, WhatIsSavedComesBack) {
    const TemporaryDirectory directory;
    const std::vector<std::string> tokens{"[PAD]", "[UNK]", "[CLS]", "[SEP]",
                                          "a\nb",  " c ",   "",      "ü"};
    const std::vector<AddedToken> added{
        {.content = "x y", .id = 6, .single_word = true, .normalized = true},
        {.content = "\"z\\\n", .id = 8, .lstrip = true, .rstrip = true, .special = true}};
    NormalizerOptions normalizer;
    normalizer.clean_text = normalizer.lowercase = false;
    normalizer.strip_accents = true;
    const Tokenizer tokenizer(Vocabulary(tokens, "t"), normalizer,
                              {.prefix = "~", .max_chars_per_word = 7}, "t", added);
    save_tokenizer(directory.path(), tokenizer, "distilbert", 12);
    EXPECT_FALSE(fs::exists(directory / "vocab.txt"));
    const Tokenizer again = Tokenizer::open(directory.path());
    EXPECT_EQ(again.added(), tokenizer.added());
    EXPECT_EQ(again.pieces().prefix, "~");
    EXPECT_EQ(again.pieces().max_chars_per_word, 7);
    EXPECT_FALSE(again.normalizer().clean_text);
    EXPECT_FALSE(again.normalizer().lowercase);
    EXPECT_EQ(again.normalizer().strip_accents, true);
    for (std::int32_t id = 0; id < 8; ++id)
        EXPECT_EQ(again.vocabulary().token(id), tokens[static_cast<std::size_t>(id)]);
    EXPECT_EQ(again.notes(), std::vector<std::string>{fmt::format(
                                 "[tokenizer] '{}': places without a token are ids that "
                                 "no text has (ids 6)",
                                 (directory / "tokenizer.json").string())});
    const auto config = json::parse(get(directory / "tokenizer_config.json"));
    EXPECT_EQ(config["tokenizer_class"], "PreTrainedTokenizerFast");
    EXPECT_EQ(config["model_max_length"], 12);
}

TEST(TokenizerFiles, WhatAnotherTokenizerHasLeftIsGone) {
    const TemporaryDirectory directory;
    for (const char* name : {"tokenizer.json", "added_tokens.json", "special_tokens_map.json"})
        put(directory / name, "{}");
    put(directory / "config.json", "{}");
    save_tokenizer(directory.path(), with("{}"), "bert", 32);
    EXPECT_EQ(Tokenizer::open(directory.path()).tokenize("the cat"), (Ids{5, 6}));
    for (const char* name : {"tokenizer.json", "added_tokens.json", "special_tokens_map.json"})
        EXPECT_FALSE(fs::exists(directory / name)) << name;
    EXPECT_TRUE(fs::exists(directory / "config.json"));
}

/// Neither the length of the text nor the number of tokens may multiply.
TEST(TokenizerFiles, LongTextsAndManyTokensAreQuick) {
    json added = json::object();
    for (int i = 0; i < 50'000; ++i) added[fmt::format("[token {}]", i)] = 8 + i;
    const Tokenizer tokenizer = with("{}", added.dump());
    std::string text;
    for (int i = 0; i < 50'000; ++i) text += "the [token 7] " + std::string(20, ' ');
    const Ids ids = tokenizer.tokenize(text);
    EXPECT_EQ(ids.size(), 100'000u);
    EXPECT_EQ(ids[1], 8 + 7);
    EXPECT_EQ(tokenizer.tokenize(std::string(3'000'000, 'a')), Ids{1});
}

}  // namespace
}  // namespace slimgrad
