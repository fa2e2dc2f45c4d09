#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

#include "bench/case.h"

namespace slimgrad::bench {

/// What a few training steps hold of the machine's memory at their peak, in bytes: the process's
/// own figure (VmHWM) beyond what it held before the model was made, and what the ledger says.
struct MemoryUse {
    std::int64_t peak_rss = 0;
    std::int64_t ledger_peak = 0;
    std::int64_t saved_peak = 0;  // of it, held for backward
};

/// Makes the workload and runs it. A peak is that of a process: call it once in each.
MemoryUse measure_memory(const Case& which, const Variant& variant, int steps);
nlohmann::json to_json(const MemoryUse& use);

}  // namespace slimgrad::bench
