#include "data/tokenizer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/file.h"
#include "data/unicode.h"
#include "tests/places.h"
#include "tests/temporary.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Ids = std::vector<std::int32_t>;

const fs::path golden = tests_directory() / "golden/tokenizer";

/// FNV-1a on words of 32 bits, as in make.py.
struct Digest {
    std::uint64_t state = 0xcbf29ce484222325;
    void add(std::u32string_view text) {
        for (const char32_t c : text) state = (state ^ c) * 0x100000001b3;
        state = (state ^ 0) * 0x100000001b3;
    }
    std::string text() const { return fmt::format("{:016x}", state); }
};

bool is_surrogate(char32_t c) { return c >= 0xD800 && c < 0xE000; }

const json& characters() {
    static const json document = [] {
        std::ifstream file(golden / "characters.json");
        return json::parse(file);
    }();
    return document;
}

/// Every code point has the property where `tokenizers` sees it, and nowhere else.
void expect_ranges(const std::string& name, bool (*holds)(char32_t)) {
    std::vector<std::pair<char32_t, char32_t>> got, expected;
    for (char32_t c = 0; c < 0x110000; ++c) {
        if (is_surrogate(c) || !holds(c)) continue;
        if (!got.empty() && got.back().second + 1 == c)
            got.back().second = c;
        else
            got.emplace_back(c, c);
    }
    for (const json& range : characters()[name]) expected.emplace_back(range[0], range[1]);
    ASSERT_FALSE(expected.empty());
    EXPECT_EQ(got, expected) << name;
}

TEST(Unicode, EveryCharacterIsWhatTokenizersSees) {
    expect_ranges("control", is_control);
    expect_ranges("whitespace", is_whitespace);
    expect_ranges("punctuation", is_punctuation);
    expect_ranges("mark", is_nonspacing_mark);
    expect_ranges("cjk", is_cjk);
    expect_ranges("word", is_word);
}

TEST(Unicode, EveryCharacterBecomesWhatTokenizersMakesOfIt) {
    for (char32_t block = 0; block < 0x110; ++block) {
        Digest decomposed, order, small;
        for (char32_t c = block << 12; c < (block + 1) << 12; ++c) {
            if (is_surrogate(c)) continue;
            const std::u32string text(1, c);
            decomposed.add(nfd(text));
            const std::u32string between = {U'a', 0x345, c, U'a', c, 0x334};
            order.add(nfd(between));
            small.add(lowercase(text));
        }
        EXPECT_EQ(decomposed.text(), characters()["nfd"][block]) << fmt::format("{:x}000", +block);
        EXPECT_EQ(order.text(), characters()["order"][block]) << fmt::format("{:x}000", +block);
        EXPECT_EQ(small.text(), characters()["lowercase"][block]) << fmt::format("{:x}000", +block);
    }
}

TEST(Unicode, Utf8BothWaysAndTheByteOfWhatIsNone) {
    const std::string text = "a\u00e9\u4e2d\U0001f600";
    EXPECT_EQ(encode_utf8(decode_utf8(text, "")), text);
    EXPECT_EQ(find_invalid_utf8(text), std::string::npos);
    const std::vector<std::pair<std::string, std::size_t>> wrong{
        {"ab\x80", 2},              // a continuation without a beginning
        {"\xc3", 0},                // cut
        {"a\xe4\xb8", 1},           // cut
        {"abc\xc0\xaf", 3},         // overlong
        {"\xe0\x80\xaf", 0},        // overlong
        {"x\xed\xa0\x80", 1},       // a surrogate
        {"xy\xf4\x90\x80\x80", 2},  // above U+10FFFF
        {"\xff", 0}};
    for (const auto& [bytes, at] : wrong) {
        EXPECT_EQ(find_invalid_utf8(bytes), at);
        expect_error([&, &bytes = bytes] { decode_utf8(bytes, "[here]"); },
                     {"[here]: expected UTF-8", fmt::format("byte {} (0x", at)});
    }
}

NormalizerOptions options_of(const json& words) {
    NormalizerOptions options{words[0], words[1], words[2], std::nullopt};
    if (!words[3].is_null()) options.strip_accents = words[3].get<bool>();
    return options;
}

Encoding encode(const Tokenizer& tokenizer, const json& entry) {
    const std::string text = entry["text"];
    const std::int64_t length = entry["length"];
    return entry["pair"].is_null()
               ? tokenizer.encode(text, length)
               : tokenizer.encode(text, entry["pair"].get<std::string>(), length);
}

bool equal(const Encoding& got, const json& expected) {
    Ids types(got.ids.size(), 1);
    std::fill_n(types.begin(), std::min<std::size_t>(types.size(), expected["first"]), 0);
    return got.ids == expected["ids"].get<Ids>() && got.types == types;
}

/// Every line of a cases.jsonl that tests/golden/tokenizer/make.py wrote, with the tokenizer that
/// lies beside it. Returns how many there were.
std::int64_t expect_cases(const fs::path& directory) {
    std::ifstream file(directory / "cases.jsonl");
    std::string line;
    EXPECT_TRUE(std::getline(file, line)) << directory;
    const json header = json::parse(line);
    EXPECT_EQ(header["magic"], "slimgrad-tokenizer");
    EXPECT_EQ(header["version"], 1);
    std::vector<Tokenizer> tokenizers;
    for (const json& options : header["options"])
        tokenizers.push_back(options.is_null() ? Tokenizer::open(directory / "tokenizer.json")
                                               : Tokenizer::open_vocabulary(directory / "vocab.txt",
                                                                            options_of(options)));
    std::int64_t lines = 0, different = 0;
    for (; std::getline(file, line); ++lines) {
        const json entry = json::parse(line);
        for (std::size_t i = 0; i < tokenizers.size(); ++i) {
            const Encoding got = encode(tokenizers[i], entry);
            if (equal(got, entry["results"][i])) continue;
            if (++different <= 10)
                ADD_FAILURE() << "line " << lines + 2 << ", settings " << i << ": "
                              << entry["text"].dump(-1, ' ', true) << "\n got "
                              << json(got.ids).dump() << "\n not " << entry["results"][i].dump();
        }
    }
    EXPECT_EQ(different, 0) << "of " << lines;
    return lines;
}

TEST(Tokenizer, IdsAreThoseOfTokenizers) { EXPECT_EQ(expect_cases(golden), 316); }

/// What make.py wrote elsewhere with a real vocabulary, on texts that cannot be shipped.
TEST(Tokenizer, IdsAreThoseOfTokenizersOnMoreText) {
    const char* const directory = std::getenv("SLIMGRAD_TOKENIZER_CASES");
    if (!directory) GTEST_SKIP() << "SLIMGRAD_TOKENIZER_CASES names no directory of make.py";
    fmt::print("{} texts and pairs\n", expect_cases(directory));
}

TEST(Tokenizer, ReadsTokenizerJsonWithItsOptions) {
    // make.py stored the second of the settings: with capitals.
    const Tokenizer tokenizer = Tokenizer::open(golden / "tokenizer.json");
    EXPECT_FALSE(tokenizer.normalizer().lowercase);
    std::ifstream file(golden / "cases.jsonl");
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
        const json entry = json::parse(line);
        EXPECT_TRUE(equal(encode(tokenizer, entry), entry["results"][1])) << entry["text"];
    }
    // A directory is read as transformers reads it, where tokenizer_config.json says that.
    EXPECT_TRUE(Tokenizer::open(golden).normalizer().lowercase);
}

std::string lines(std::initializer_list<std::string> tokens) {
    std::string text;
    for (const std::string& token : tokens) text += token + "\n";
    return text;
}

const std::string small_vocabulary =
    lines({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "##s", "sat", "##ting", "un", ","});

Tokenizer small() {
    TemporaryDirectory directory;
    put(directory / "vocab.txt", small_vocabulary);
    return Tokenizer::open(directory / "vocab.txt");
}

TEST(Tokenizer, LongestPieceFirstAndUnknownWords) {
    const Tokenizer tokenizer = small();
    EXPECT_EQ(tokenizer.tokenize("The cats, satting"), (Ids{4, 5, 6, 10, 7, 8}));
    EXPECT_EQ(tokenizer.tokenize("catting dog cat"), (Ids{5, 8, 1, 5}));
    EXPECT_EQ(tokenizer.tokenize("catx"), Ids{1});  // not [cat, UNK]
    EXPECT_EQ(tokenizer.tokenize(""), Ids{});
    EXPECT_EQ(tokenizer.tokenize("cat[SEP]CATS [sep]"), (Ids{5, 3, 5, 6, 1, 1, 1}));
    EXPECT_EQ(tokenizer.vocabulary().token(6), "##s");
}

TEST(Tokenizer, PairsHaveTypesAndAreCutLongestFirst) {
    const Tokenizer tokenizer = small();
    const Encoding whole = tokenizer.encode("the cat", "cats sat , sat");
    EXPECT_EQ(whole.ids, (Ids{2, 4, 5, 3, 5, 6, 7, 10, 7, 3}));
    EXPECT_EQ(whole.types, (Ids{0, 0, 0, 0, 1, 1, 1, 1, 1, 1}));
    EXPECT_EQ(tokenizer.encode("the cat", "cats sat , sat", 7).ids, (Ids{2, 4, 5, 3, 5, 6, 3}));
    EXPECT_EQ(tokenizer.encode("the cat", "cats sat , sat", 6).ids, (Ids{2, 4, 3, 5, 6, 3}));
    EXPECT_EQ(tokenizer.encode("cats sat , sat", "the cat", 6).ids, (Ids{2, 5, 6, 3, 4, 3}));
    EXPECT_EQ(tokenizer.encode("the cat", "sat cat", 6).ids, (Ids{2, 4, 3, 7, 5, 3}));
    EXPECT_EQ(tokenizer.encode("the cat", "sat cat", 3).ids, (Ids{2, 3, 3}));
    EXPECT_EQ(tokenizer.encode("the cat sat", 4).ids, (Ids{2, 4, 5, 3}));
    expect_error([&] { tokenizer.encode("the", "cat", 2); }, {"at least 3", "got 2"});
    expect_error([&] { tokenizer.encode("the", 1); }, {"at least 2", "got 1"});
    expect_error([&] { tokenizer.encode("the", -5); }, {"at least 2", "got -5"});
}

TEST(Tokenizer, TextThatIsNoUtf8IsRefused) {
    const Tokenizer tokenizer = small();
    expect_error([&] { tokenizer.tokenize("the c\xe9t"); }, {"[tokenizer]", "UTF-8", "byte 5"});
    expect_error([&] { tokenizer.encode("the", "\xed\xa0\x80"); }, {"UTF-8", "byte 0"});
    EXPECT_EQ(tokenizer.tokenize(std::string("the\0 cat", 8)), (Ids{4, 5}));  // NUL is dropped
    // Also where a special token stands before it.
    expect_error([&] { tokenizer.tokenize("[SEP] \xff"); }, {"byte 6"});
}

TEST(Tokenizer, VocabulariesThatAreNone) {
    TemporaryDirectory directory;
    const fs::path file = directory / "vocab.txt";
    const auto expect = [&](const std::string& text, std::initializer_list<std::string> parts) {
        put(file, text);
        expect_error([&] { Tokenizer::open(file); }, parts);
    };
    for (const std::string missing : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) {
        std::string text = small_vocabulary;
        expect(text.replace(text.find(missing), missing.size(), "other"),
               {"vocab.txt'", "expected the token " + missing, "11"});
    }
    expect("", {"vocab.txt'", "got none"});
    expect("\n \n\n", {"vocab.txt'", "got none"});
    expect(std::string((1 << 22) + 1, '\n'), {"at most 4194304 lines"});
    expect("[PAD]\ncaf\xe9\n", {"line 2: expected UTF-8, byte 3"});
    expect_error([&] { Tokenizer::open(directory / "absent.txt"); }, {"cannot read", "absent.txt"});
    fs::create_directory(directory / "empty");
    expect_error([&] { Tokenizer::open(directory / "empty"); },
                 {"'tokenizer.json' or 'vocab.txt'", "empty"});
}

TEST(Tokenizer, ATokensIdIsItsLineWhateverTheLinesHold) {
    TemporaryDirectory directory;
    const auto ids = [&](const std::string& vocabulary, const std::string& text) {
        put(directory / "vocab.txt", vocabulary);
        return Tokenizer::open(directory / "vocab.txt").tokenize(text);
    };
    EXPECT_EQ(ids(small_vocabulary + "\ndog\n", "dog cat"), (Ids{12, 5}));
    EXPECT_EQ(ids(small_vocabulary + " \ndog\n", "dog cat"), (Ids{12, 5}));
    EXPECT_EQ(ids(small_vocabulary + "cat\ndog", "dog cat"), (Ids{12, 11}));
    EXPECT_EQ(ids(small_vocabulary + "[SEP]\n", "[SEP]"), Ids{11});
    EXPECT_EQ(ids("\xEF\xBB\xBF" + small_vocabulary, "cat"), Ids{5});
    EXPECT_EQ(ids(small_vocabulary + std::string(1 << 20, 'x') + "\ndog\n", "dog"), Ids{12});
    std::string windows;
    for (const char c : small_vocabulary) windows += c == '\n' ? "\r\n" : std::string(1, c);
    EXPECT_EQ(ids(windows, "the cat"), (Ids{4, 5}));
}

TEST(Tokenizer, ADirectorySaysWhetherCapitalsCount) {
    TemporaryDirectory directory;
    put(directory / "vocab.txt", small_vocabulary + "The\n");
    put(directory / "tokenizer_config.json", R"({"do_lower_case": false, "strip_accents": null})");
    EXPECT_EQ(Tokenizer::open(directory.path()).tokenize("The the"), (Ids{11, 4}));
    put(directory / "tokenizer_config.json", R"({"do_lower_case": "no"})");
    expect_error([&] { Tokenizer::open(directory.path()); },
                 {"tokenizer_config.json", "do_lower_case", "true or false", "got \"no\""});
}

TEST(Tokenizer, TokenizerJsonOfAnotherKindIsRefused) {
    const json good = json::parse(get(golden / "tokenizer.json"));
    const auto expect = [&](const std::string& pointer, const json& value,
                            std::initializer_list<std::string> parts,
                            const std::string& without = "") {
        json document = good;
        document[json::json_pointer(pointer)] = value;
        if (!without.empty()) document = document.patch({{{"op", "remove"}, {"path", without}}});
        expect_error([&] { Tokenizer::parse_json(document.dump(), "[t]"); }, parts);
    };
    expect("/model/type", "BPE",
           {"[t]: expected the type \"WordPiece\" as \"model\", got \"BPE\""});
    expect("/normalizer/type", "NFC", {"\"BertNormalizer\"", "got \"NFC\""});
    expect("/normalizer", nullptr, {"expected an object \"normalizer\""});
    expect("/normalizer/lowercase", 1, {"\"lowercase\" of \"normalizer\", got 1"});
    expect("/pre_tokenizer/type", "Whitespace", {"\"BertPreTokenizer\"", "\"Whitespace\""});
    expect("/model/unk_token", "<unk>", {"unk_token", "\"[UNK]\"", "\"<unk>\""});
    expect("/model/vocab", json::array(), {"\"vocab\""});
    expect("/model/vocab/the", -1, {"expected an id from 0", "\"the\"", "-1"});
    expect("/model/vocab/the", 1e9, {"expected an id from 0", "\"the\""});
    expect("/model/vocab/the", 3, {"expected each id once", "\"the\"", "id 3"});
    // An id that is left out is one that no text has; but not any number of them.
    expect("/model/vocab/another", 9'000'000, {"an id from 0 to 11247", "\"another\""});
    expect("/model/merges", json::array(), {"the type \"WordPiece\""}, "/model/type");
    expect("/model/max_input_chars_per_word", "many", {"max_input_chars_per_word"});
    expect("/added_tokens/0/lstrip", 1, {"\"lstrip\"", "true or false"});
    expect("/added_tokens/0/id", 1, {"the id 0", "\"[PAD]\"", "got 1"});
    expect("/added_tokens/0/id", "0", {"an id from 0", "\"[PAD]\", got \"0\""});
    expect("/added_tokens", 7, {"\"added_tokens\", got 7"});
    expect("/added_tokens/0", json::object(), {"an added token with a \"content\", got {}"});
    expect("/post_processor/type", "RobertaProcessing", {"\"TemplateProcessing\""});
    expect("/post_processor", {{"type", "TemplateProcessing"}, {"single", json::array()}},
           {"[CLS] A [SEP]"});
    json lacking = good;
    lacking["model"]["vocab"].erase("[CLS]");
    lacking["model"]["vocab"]["[START]"] = 3;
    lacking["added_tokens"].clear();
    expect_error([&] { Tokenizer::parse_json(lacking.dump(), "[t]"); }, {"the token [CLS]"});
    expect_error([] { Tokenizer::parse_json("{\"model\": ", "[t]"); }, {"[t]", "JSON", "byte"});
    expect_error([] { Tokenizer::parse_json("[]", "[t]"); }, {"expected an object, got array"});
    expect_error([] { Tokenizer::parse_json("{\"a\": \"\xff\"}", "[t]"); }, {"[t]", "byte"});
    expect_error([] { Tokenizer::parse_json("{\"a\": 1e999}", "[t]"); }, {"[t]", "too large"});
    expect_error([] { Tokenizer::parse_json(std::string(1 << 20, '['), "[t]"); }, {"nested"});
}

}  // namespace
}  // namespace slimgrad
