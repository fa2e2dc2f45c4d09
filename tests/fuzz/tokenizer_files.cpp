// The files in which transformers keeps a tokenizer, with zeros between them; the first byte says
// which are there.
#include "data/tokenizer_files.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    const unsigned choice = take_choice(input);
    TokenizerFiles files;
    std::optional<std::string>* const all[] = {
        &files.tokenizer,    &files.vocabulary,         &files.config,
        &files.added_tokens, &files.special_tokens_map, &files.model_config};
    for (std::size_t i = 0; i < std::size(all); ++i)
        if (choice >> i & 1) *all[i] = std::string(take_part(input));
    refuse_or_accept([&] {
        const Tokenizer tokenizer = make_tokenizer(files, "fuzz");
        const std::string text = "The  [WORLD] cat, caf\u00e9 \u4e2d[SEP]new ";
        const std::vector<std::int32_t> ids = tokenizer.tokenize(text);
        for (const std::int32_t id : ids)
            expect(id >= 0 && id < tokenizer.size(), "ids are below the size");
        const Tokenizer again = make_tokenizer(format_tokenizer(tokenizer, "bert", 32), "again");
        expect(again.added() == tokenizer.added() && again.tokenize(text) == ids,
               "what is saved comes back");
    });
}
