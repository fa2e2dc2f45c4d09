// config.json of a model: any bytes are a file.
#include "tests/fuzz/fuzz.h"
#include "train/pretrained_config.h"

using namespace slimgrad;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    fuzz::refuse_or_accept([&] {
        const BertConfigFile read = parse_bert_config(input, "fuzz");
        check(read.config, "fuzz");
        fuzz::expect(read.labels.empty() || std::ssize(read.labels) == read.config.classes,
                     "every class has a name, or none");
    });
    return 0;
}
