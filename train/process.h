#pragma once

#include <cstdint>

namespace slimgrad {

/// Makes the peak below start from what the process holds now. Returns false where the system does
/// not allow it; the peak is then that of the whole life of the process.
bool reset_peak_rss();
/// The most memory that the process has really held (VmHWM), and what it holds now (VmRSS), in
/// bytes; 0 where the system does not say.
std::int64_t peak_rss();
std::int64_t current_rss();

}  // namespace slimgrad
