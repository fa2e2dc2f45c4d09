#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace slimgrad {

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
