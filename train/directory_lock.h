#pragma once

#include <filesystem>
#include <string>

namespace slimgrad {

/// A directory in which no other program that asks for this lock writes: runs and comparisons. It
/// is a flock on a file in it, which ends with the process, however that ends, and is not passed
/// on to programs that it starts.
class DirectoryLock {
  public:
    static constexpr const char* file_name = "slimgrad.lock";

    /// Throws Error that names the process and the machine that hold the lock, or says why the
    /// directory cannot be written. A file system without locks gives none: see held().
    explicit DirectoryLock(std::filesystem::path directory);
    ~DirectoryLock();
    DirectoryLock(DirectoryLock&& other) noexcept;
    DirectoryLock& operator=(DirectoryLock&&) = delete;

    /// False where the file system has no locks: then the user has to see to it.
    bool held() const { return held_; }
    /// That, for the user; empty if the lock is held.
    std::string note() const;

  private:
    bool open_file();
    void write_holder() const;

    std::filesystem::path directory_, file_;
    int descriptor_ = -1;
    bool held_ = false;
};

}  // namespace slimgrad
