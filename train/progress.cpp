#include "train/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace slimgrad {

void say(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stderr) == text.size()) std::fflush(stderr);
}

Progress::Progress(std::string title, std::int64_t first, std::int64_t total, bool quiet)
    : title_(std::move(title)),
      first_(first),
      total_(total),
      quiet_(quiet),
      terminal_(isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() { clear(); }

void Progress::step(std::int64_t done, double loss) {
    using namespace std::chrono_literals;
    const Clock::time_point now = Clock::now();
    if (quiet_ || !terminal_ || (now - last_ < 200ms && done < total_)) return;
    last_ = now;
    const double elapsed = std::chrono::duration<double>(now - start_).count();
    const double rate = static_cast<double>(done - first_) / elapsed;
    const auto left = static_cast<std::int64_t>(static_cast<double>(total_ - done) / rate);
    say(fmt::format("\r{}  step {}/{}  loss {:.4f}  {:.1f} steps/s  {}:{:02} left\033[K", title_,
                    done, total_, loss, rate, left / 60, left % 60));
    shown_ = true;
}

void Progress::line(const std::string& text) {
    if (!quiet_) warn(text);
}

void Progress::warn(const std::string& text) {
    clear();
    say(fmt::format("{}  {}\n", title_, text));
}

void Progress::clear() {
    if (shown_) say("\r\033[K");
    shown_ = false;
}

}  // namespace slimgrad
