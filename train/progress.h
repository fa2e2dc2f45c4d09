#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace slimgrad {

/// Writes to standard error. Whoever cannot be told is not told: no run ends for that.
void say(std::string_view text);

/// What a run tells the person who waits, on standard error: one moving line with the time left on
/// a terminal, and ordinary lines for what should stay.
class Progress {
  public:
    /// A run named `title` that starts at step `first` of `total`. `quiet` prints nothing.
    Progress(std::string title, std::int64_t first, std::int64_t total, bool quiet);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void step(std::int64_t done, double loss);
    void line(const std::string& text);
    /// A line that should be seen even if all else is quiet.
    void warn(const std::string& text);

  private:
    using Clock = std::chrono::steady_clock;
    void clear();

    std::string title_;
    std::int64_t first_, total_;
    bool quiet_, terminal_;
    bool shown_ = false;
    Clock::time_point start_ = Clock::now(), last_{};
};

}  // namespace slimgrad
