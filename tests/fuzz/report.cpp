// What `report` reads of a run: metrics.jsonl, summary.json and config.json, with zeros between
// them.
#include "train/report.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    static const Directory directory;
    for (const char* const name : {"metrics.jsonl", "summary.json", "config.json"})
        directory.put(name, take_part(input));
    refuse_or_accept([&] {
        const std::string run = directory.path().string();
        write_report({run, run}, (directory.path() / "report.html").string());
    });
}
