// Texts for the tokenizer, with every combination of its options.
#include <algorithm>

#include "data/tokenizer.h"
#include "data/unicode.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

namespace {

Tokenizer make(unsigned choice) {
    std::vector<std::string> tokens{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "é", "##é", "中"};
    for (char c = '!'; c <= '~'; ++c)
        for (const char* const prefix : {"", "##"}) tokens.push_back(prefix + std::string(1, c));
    NormalizerOptions options;
    options.clean_text = choice & 1;
    options.handle_chinese_chars = choice & 2;
    options.lowercase = choice & 4;
    if (choice & 8) options.strip_accents = (choice & 16) != 0;
    std::vector<AddedToken> added;
    const auto add = [&](const char* content, unsigned bit, unsigned flags) {
        if (!(choice >> bit & 1)) return;
        added.push_back({.content = content,
                         .single_word = (flags & 1) != 0,
                         .lstrip = (flags & 2) != 0,
                         .rstrip = (flags & 4) != 0,
                         .normalized = (flags & 8) != 0});
    };
    // They overlap, with one another and with what is normalised away.
    add("ab", 0, 1);
    add("ab ", 1, 6);
    add(" b", 2, 8);
    add("[x", 3, 2);
    add("\u00e9", 4, 12);
    return Tokenizer(Vocabulary(tokens, "fuzz"), options, {}, "fuzz", added);
}

}  // namespace

void slimgrad::fuzz::read(std::string_view input) {
    static const std::vector<Tokenizer> tokenizers = [] {
        std::vector<Tokenizer> made;
        for (unsigned choice = 0; choice < 32; ++choice) made.push_back(make(choice));
        return made;
    }();
    const Tokenizer& tokenizer = tokenizers[take_choice(input) % 32];
    const std::int64_t length = 3 + static_cast<std::int64_t>(take_choice(input));
    const bool text = find_invalid_utf8(input) == std::string_view::npos;
    bool accepted = false;
    refuse_or_accept([&] {
        const std::vector<std::int32_t> ids = tokenizer.tokenize(input);
        accepted = true;
        expect(std::ranges::all_of(ids, [&](auto id) { return id >= 0 && id < tokenizer.size(); }),
               "ids are of the vocabulary");
        expect(encode_utf8(decode_utf8(input, "fuzz")) == input, "UTF-8 both ways");
        const Encoding pair = tokenizer.encode(input, "a pair", length);
        expect(pair.size() <= length && pair.types.size() == pair.ids.size(),
               "a pair is cut to its length");
        expect(pair.ids.front() == tokenizer.cls() && pair.ids.back() == tokenizer.sep(),
               "a pair is framed");
    });
    expect(accepted == text, "a text is refused if and only if it is not UTF-8");
}
