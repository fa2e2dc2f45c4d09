// tokenizer.json: any bytes are a file.
#include "data/tokenizer.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    fuzz::refuse_or_accept([&] {
        const Tokenizer tokenizer = Tokenizer::parse_json(input, "fuzz");
        for (const std::int32_t id : tokenizer.tokenize("Some words, caf\u00e9 [SEP] \u4e2d"))
            fuzz::expect(id >= 0 && id < tokenizer.size(), "ids are below the size");
    });
    return 0;
}
