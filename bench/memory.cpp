#include "bench/memory.h"

#include <nlohmann/json.hpp>

#include "bench/workload.h"
#include "tensor/error.h"
#include "tensor/ledger.h"
#include "train/process.h"

namespace slimgrad::bench {

MemoryUse measure_memory(const Case& which, const Variant& variant, int steps) {
    require(steps >= 1, "[bench] expected at least one step, got {}", steps);
    reset_peak_rss();
    ledger().reset_peaks();
    const std::int64_t rss = current_rss(), held = ledger().total().live;
    const auto workload = make_workload(which, variant);
    for (int step = 0; step < steps; ++step) workload->run();
    return {peak_rss() - rss, ledger().total().peak - held, ledger()[Category::saved].peak};
}

nlohmann::json to_json(const MemoryUse& use) {
    return {{"peak_rss", use.peak_rss},
            {"ledger_peak", use.ledger_peak},
            {"saved_peak", use.saved_peak}};
}

}  // namespace slimgrad::bench
