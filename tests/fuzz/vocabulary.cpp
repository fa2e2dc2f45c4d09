// vocab.txt: any bytes are a file.
#include "data/tokenizer.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    refuse_or_accept([&] {
        const Vocabulary vocabulary = Vocabulary::parse(input, "fuzz");
        for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
            const std::string& token = vocabulary.token(id);
            const auto found = vocabulary.find(token);
            expect(found.has_value() != token.empty(), "an empty place is no token");
            expect(!found || (*found >= id && vocabulary.token(*found) == token),
                   "of equal tokens the last counts");
            expect(token.size() <= vocabulary.longest(), "no token is longer");
        }
        const Tokenizer tokenizer(vocabulary, {}, {}, "fuzz");
        for (const std::int32_t id : tokenizer.tokenize("The cat [SEP] sat, caf\u00e9 \u4e2d"))
            expect(id >= 0 && id < tokenizer.size(), "ids are of the vocabulary");
    });
}
