// tokenizer.json: any bytes are a file.
#include "data/tokenizer.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    refuse_or_accept([&] {
        const Tokenizer tokenizer = Tokenizer::parse_json(input, "fuzz");
        for (const std::int32_t id : tokenizer.tokenize("Some words, caf\u00e9 [SEP] \u4e2d"))
            expect(id >= 0 && id < tokenizer.size(), "ids are below the size");
    });
}
