#include "train/process.h"

#include <fstream>
#include <string>
#include <string_view>

namespace slimgrad {
namespace {

std::int64_t status_bytes(std::string_view key) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with(key)) return std::stoll(line.substr(key.size())) * 1024;
    return 0;
}

}  // namespace

bool reset_peak_rss() {
    std::ofstream refs("/proc/self/clear_refs");
    refs << 5 << std::flush;  // 5: reset the high-water mark
    return refs.good();
}

std::int64_t peak_rss() { return status_bytes("VmHWM:"); }
std::int64_t current_rss() { return status_bytes("VmRSS:"); }

}  // namespace slimgrad
