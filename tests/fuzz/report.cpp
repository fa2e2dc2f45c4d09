// What `report` reads of a run: metrics.jsonl, summary.json and config.json, with zeros between
// them.
#include "train/report.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view input(reinterpret_cast<const char*>(data), size);
    static const fuzz::Directory directory;
    for (const char* const name : {"metrics.jsonl", "summary.json", "config.json"})
        directory.put(name, fuzz::take_part(input));
    fuzz::refuse_or_accept([&] {
        const std::string run = directory.path().string();
        write_report({run, run}, (directory.path() / "report.html").string());
    });
    return 0;
}
