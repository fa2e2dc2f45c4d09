#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace slimgrad {

/// Whether something is there. Throws Error if that cannot be told, as in a directory that this
/// user may not search.
bool is_there(const std::filesystem::path& path);

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
/// and renames. Without commit() the temporary file is removed and the old one stays. A symbolic
/// link is replaced by the file, and what it pointed to stays. A device, a pipe and what
/// /dev/stdout stands for cannot be replaced and are written as they are. Throws Error, one line,
/// if the directory cannot be written or the disk is full.
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
    void open_temporary();

    std::filesystem::path path_, temporary_;
    int descriptor_ = -1;
};

/// Replaces a file as a whole: whoever reads it finds the old or the new text, never a part. What
/// processes that died over it have left goes. Throws Error if it cannot be written.
void write_file(const std::filesystem::path& file, std::string_view text);

/// Whether a file of this name is what an AtomicFile of `of` writes before it is committed.
bool is_temporary(std::string_view name, std::string_view of);
/// Removes from a directory the temporary files of these names that dead processes have left; those
/// that a living one writes stay. Where that cannot be told, nothing is removed.
void remove_leftovers(const std::filesystem::path& directory, std::span<const char* const> names);

/// Brings the names in a directory to disk. Throws Error if the disk fails.
void sync_directory(const std::filesystem::path& directory);

}  // namespace slimgrad
