// Files of GLUE's tasks, and the list of ids that divides MRPC.
#include "data/glue.h"
#include "data/unicode.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

namespace {

void check(const TextData& data) {
    data.check();
    for (const auto* texts : {&data.first, &data.second})
        for (const std::string& text : *texts)
            fuzz::expect(!text.empty() && find_invalid_utf8(text) == std::string::npos &&
                             text.find_first_of("\t\n") == std::string::npos,
                         "a text is a field in UTF-8");
}

}  // namespace

void slimgrad::fuzz::read(std::string_view input) {
    const unsigned choice = take_choice(input);
    const GlueTask& task = glue_tasks()[choice % glue_tasks().size()];
    refuse_or_accept([&] {
        if (task.name == "mrpc" && choice >= 128) {  // two files, with a zero between them
            const std::size_t end = std::min(input.find('\0'), input.size());
            const std::string_view ids = input.substr(std::min(end + 1, input.size()));
            const TextSplits splits =
                split_mrpc(task, input.substr(0, end), "fuzz", ids, "fuzz ids");
            if (splits.train.size() > 0) check(splits.train);
            if (splits.test.size() > 0) check(splits.test);
            return;
        }
        TextData read;
        read.classes = task.classes;
        append_glue_text(read, task, input, "fuzz");
        check(read);
    });
}
