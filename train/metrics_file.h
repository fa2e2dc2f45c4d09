#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace slimgrad {

/// metrics.jsonl of a run, open to be added to. Every line is handed to the system at once, so that
/// a reader may follow the run. All throw Error, one line, if the file cannot be written.
class MetricsFile {
  public:
    explicit MetricsFile(std::filesystem::path path);
    ~MetricsFile();
    MetricsFile(MetricsFile&& other) noexcept;
    MetricsFile& operator=(MetricsFile&&) = delete;

    void append(std::string_view line);
    /// Brings all lines to disk.
    void sync();
    std::int64_t bytes() const;
    /// Returns to an earlier length. A file that has become shorter keeps the whole lines that it
    /// has; false then.
    bool cut_to(std::int64_t bytes);

  private:
    [[noreturn]] void fail_with(int error) const;

    std::filesystem::path path_;
    int descriptor_ = -1;
};

}  // namespace slimgrad
