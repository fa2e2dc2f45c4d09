// config.json of a model: any bytes are a file.
#include "tests/fuzz/fuzz.h"
#include "train/pretrained_config.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    refuse_or_accept([&] {
        const BertConfigFile read = parse_bert_config(input, "fuzz");
        check(read.config, "fuzz");
        expect(read.labels.empty() || std::ssize(read.labels) == read.config.classes,
               "every class has a name, or none");
    });
}
