#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace slimgrad {

/// All bytes of a file. Throws Error if it cannot be read or has more than 4 GiB.
std::vector<std::uint8_t> read_file(const std::filesystem::path& path);
std::string read_text(const std::filesystem::path& path);

/// The lines of a text file without their line ends (LF or CR LF), and without empty lines at its
/// end. Throws Error if it cannot be read.
std::vector<std::string> read_lines(const std::filesystem::path& path);

/// A file seen as memory, read only: pages are loaded when they are touched. Throws Error if it
/// cannot be opened.
class MappedFile {
  public:
    explicit MappedFile(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    std::span<const std::uint8_t> bytes() const { return {data_, size_}; }

  private:
    const std::uint8_t* data_ = nullptr;
    std::size_t size_ = 0;
};

/// Writes a file so that its path holds either the old content or the whole new one, whatever
/// happens in between: into a temporary file of the same directory, which commit() brings to disk
/// and renames. Without commit() the temporary file is removed and the old one stays. Throws Error,
/// one line, if the directory cannot be written or the disk is full.
class AtomicFile {
  public:
    explicit AtomicFile(std::filesystem::path path);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    void write(std::span<const std::uint8_t> bytes);
    void write(std::string_view text);
    void commit();

  private:
    [[noreturn]] void fail_with(int error) const;

    std::filesystem::path path_, temporary_;
    int descriptor_ = -1;
};

}  // namespace slimgrad
