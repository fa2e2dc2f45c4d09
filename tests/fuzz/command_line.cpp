// Command lines of `train`, a word a line: parsed and checked, not run.
#include "cli/options.h"
#include "tensor/error.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    std::vector<std::string> words;  // the last one first, as CLI11 takes them
    while (!input.empty() && words.size() < 100) {
        const std::size_t end = std::min(input.find('\n'), input.size());
        words.insert(words.begin(), std::string(input.substr(0, end)));
        input.remove_prefix(std::min(end + 1, input.size()));
    }
    CLI::App program;
    const cli::RunOptions options(program);
    refuse_or_accept([&] {
        try {
            program.parse(std::move(words));
        } catch (const CLI::Error&) {
            return;  // the program prints these
        }
        const TrainConfig config = options.config();
        validate(config);
        for (const std::string& word : cli::arguments(config))
            expect(!word.empty(), "an argument is not empty");
    });
}
