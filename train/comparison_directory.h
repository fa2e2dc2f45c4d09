#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "train/directory_lock.h"

namespace slimgrad {

/// Where a comparison keeps its runs, each in a directory of its own, and what it finds:
/// compare.json, compare.md, report.html. It belongs to this process alone while the object lives.
class ComparisonDirectory {
  public:
    enum class Existing { refuse, go_on, replace };
    /// Makes the directory and locks it. Throws Error, and touches nothing, if it holds another
    /// comparison that `existing` refuses, or files under these names that are of none.
    ComparisonDirectory(const std::filesystem::path& path, Existing existing);

    const std::filesystem::path& path() const { return path_; }
    /// What a user should know of it, or nothing.
    std::string note() const { return lock_.note(); }
    /// A comparison begins, or begins anew: what an earlier one has found goes. `text` is the first
    /// compare.json.
    void begin(std::string_view text) const;
    /// Replaces one of its files as a whole.
    void write(const std::string& name, std::string_view text) const;

  private:
    static DirectoryLock locked(const std::filesystem::path& path, Existing existing);

    std::filesystem::path path_;
    DirectoryLock lock_;
};

}  // namespace slimgrad
